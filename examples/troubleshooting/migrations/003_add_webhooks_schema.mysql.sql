-- migrator: allow=several-ddl-in-one-file
-- Who is told of events, and each attempt to tell them. A secret is kept as its hash only.

CREATE TABLE support_troubleshooting_webhooks (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    url VARCHAR(700) NOT NULL UNIQUE,
    secret_hash VARCHAR(128) NOT NULL,
    events JSON NOT NULL,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    disabled_at DATETIME
);

CREATE TABLE support_troubleshooting_webhook_deliveries (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    webhook_id VARCHAR(64) NOT NULL,
    session_id VARCHAR(64),
    event VARCHAR(100) NOT NULL,
    payload JSON NOT NULL,
    status VARCHAR(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    response_code INTEGER,
    response_ms INTEGER,
    next_attempt_at DATETIME,
    delivered_at DATETIME,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (webhook_id) REFERENCES support_troubleshooting_webhooks (id) ON DELETE CASCADE,
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE SET NULL
);
