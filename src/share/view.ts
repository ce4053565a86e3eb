import type { AmqpSharedView } from '../managers/amqplib/share.ts'
import type { Http2View } from '../managers/http2/view.ts'
import type { MariadbSharedView } from '../managers/mysql/mariadb-share.ts'
import type { PgSharedView } from '../managers/pg/share.ts'
import type { RedisSharedView } from '../managers/redis/share.ts'

/** The view of a connection, by the type of the connection. `unknown` for a manager of one's own: give it to `share`. */
export type SharedView<C> = C extends { readonly remoteSettings: object; request: unknown }
  ? Http2View
  : C extends { createChannel: unknown; createConfirmChannel: unknown }
    ? AmqpSharedView<C>
    : C extends { sendCommand: unknown; get: unknown } | { call: unknown; get: unknown }
      ? RedisSharedView<C>
      : C extends { query: unknown; execute: unknown }
        ? MariadbSharedView<C>
        : C extends { query: unknown }
          ? PgSharedView<C>
          : unknown
