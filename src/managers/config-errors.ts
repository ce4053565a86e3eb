/** Codes of Node's errors for a wrong config, or a package that is not installed: not retryable. */
export const CONFIG_ERRORS: readonly string[] = [
  'INVALID_OPTIONS',
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_SOCKET_BAD_PORT',
  'MODULE_NOT_FOUND',
  'ERR_MODULE_NOT_FOUND',
]
