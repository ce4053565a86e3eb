/** Codes of Node's errors that tell a wrong config, or a package that is not installed: no retry will mend them. */
export const CONFIG_ERRORS: readonly string[] = [
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_SOCKET_BAD_PORT',
  'MODULE_NOT_FOUND',
  'ERR_MODULE_NOT_FOUND',
]
