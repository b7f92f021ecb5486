"""HTTP mechanics under the routes: server, connections, framing, middleware, CORS, metrics, error responses."""
