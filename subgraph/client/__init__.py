"""What other services import, to send records, to be a pod or to keep results; `docs/clients.md` tells how.

- A sender: `router.Router` over `router.routes_over_graphql`; it answers a `routes.Route` or a `routes.NoRoute`.
- A pod: `pod.PodClient` with a `pod.PodRegistration`, over a `connection.Connection`; the service's own part is a
  `worker.TileWorker`. With a `fleet_redis.FleetRedis` it renews its lease past the session manager.
- A sink: `redis_sink.RedisSink`, `sql_sink.SqlSink`, or `sql_fence.SqlFence` in a service's own database;
  `audit.SinkAudit` checks what a sink in Redis has taken.
- What is told, and how a call can fail: `manager`. A token that lasts or is renewed: `authorization.AccessToken`.

Nothing is imported here: a service loads only the libraries of the parts it uses.
"""
