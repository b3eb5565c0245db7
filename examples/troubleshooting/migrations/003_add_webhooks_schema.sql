-- migrator: allow=squawk/prefer-bigint-over-int
-- Who is told of events, and each attempt to tell them. A secret is kept as its hash only.

CREATE TABLE support_troubleshooting_webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    url TEXT NOT NULL UNIQUE,
    secret_hash TEXT NOT NULL,
    events JSONB NOT NULL,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    disabled_at TIMESTAMPTZ
);

CREATE TABLE support_troubleshooting_webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    webhook_id TEXT NOT NULL,
    session_id TEXT,
    event TEXT NOT NULL,
    payload JSONB NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    response_code INTEGER,
    response_ms INTEGER,
    next_attempt_at TIMESTAMPTZ,
    delivered_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (webhook_id) REFERENCES support_troubleshooting_webhooks (id) ON DELETE CASCADE,
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE SET NULL
);
