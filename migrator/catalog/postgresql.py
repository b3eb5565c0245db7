"""Reader of a PostgreSQL schema, from the system catalogs in one query (PostgreSQL 11 and later).

Objects of extensions are left out, and so are indexes that only serve a constraint. A name outside of the schema
`public` begins with its schema.
"""

import json
from collections.abc import Iterator

from kbstore.migrator.catalog.items import Connection, Item, rows

# Each SELECT of the UNION gives kind, name, and attributes as JSON.
_QUERY = """
WITH space AS (
    SELECT oid, CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END AS prefix
    FROM pg_catalog.pg_namespace
    WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
), member AS (
    SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), rel AS (
    SELECT c.*, s.prefix || c.relname AS name
    FROM pg_catalog.pg_class AS c JOIN space AS s ON s.oid = c.relnamespace
    WHERE (('pg_catalog.pg_class'::regclass)::oid, c.oid) NOT IN (SELECT classid, objid FROM member)
)
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
    ELSE 'table' END, name, CASE WHEN relkind IN ('v', 'm')
    THEN json_build_object('definition', pg_get_viewdef(oid))
    ELSE json_build_object(
        'unlogged', relpersistence = 'u', 'row security', relrowsecurity,
        'partitioned', CASE relkind WHEN 'p' THEN pg_get_partkeydef(oid) END,
        'partition', pg_get_expr(relpartbound, oid)
    ) END::text
FROM rel WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
UNION ALL
SELECT 'column', rel.name || '.' || a.attname, json_build_object(
    'table', rel.name, 'type', format_type(a.atttypid, a.atttypmod), 'nullable', NOT a.attnotnull,
    'default', pg_get_expr(d.adbin, d.adrelid),
    'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
    'generated', CASE to_json(a)->>'attgenerated' WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
    'collation', l.collname
)::text
FROM rel JOIN pg_attribute AS a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_collation AS l ON l.oid = a.attcollation AND a.attcollation <> t.typcollation
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE rel.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT CASE k.contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, rel.name || '.' || k.conname,
    json_build_object('table', rel.name, 'definition', pg_get_constraintdef(k.oid))::text
FROM rel JOIN pg_constraint AS k ON k.conrelid = rel.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL
SELECT 'index', i.name, json_build_object(
    'table', rel.name, 'definition', pg_get_indexdef(i.oid), 'valid', x.indisvalid AND x.indisready
)::text
FROM pg_index AS x JOIN rel ON rel.oid = x.indrelid JOIN rel AS i ON i.oid = x.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'trigger', rel.name || '.' || t.tgname, json_build_object(
    'table', rel.name, 'definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled <> 'D'
)::text
FROM rel JOIN pg_trigger AS t ON t.tgrelid = rel.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'policy', rel.name || '.' || p.polname, json_build_object(
    'table', rel.name, 'command', p.polcmd, 'permissive', p.polpermissive,
    'using', pg_get_expr(p.polqual, p.polrelid), 'with check', pg_get_expr(p.polwithcheck, p.polrelid),
    'roles', (SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles WHERE pg_roles.oid = ANY (p.polroles))
)::text
FROM rel JOIN pg_policy AS p ON p.polrelid = rel.oid
UNION ALL
SELECT 'rule', rel.name || '.' || r.rulename,
    json_build_object('table', rel.name, 'definition', pg_get_ruledef(r.oid))::text
FROM rel JOIN pg_rewrite AS r ON r.ev_class = rel.oid AND r.rulename <> '_RETURN'
UNION ALL
SELECT 'sequence', rel.name, json_build_object(
    'table', o.name, 'type', format_type(q.seqtypid, NULL), 'start', q.seqstart::text,
    'increment', q.seqincrement::text, 'cycle', q.seqcycle
)::text
FROM rel JOIN pg_sequence AS q ON q.seqrelid = rel.oid
LEFT JOIN pg_depend AS d ON d.objid = rel.oid AND d.classid = 'pg_class'::regclass
    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
LEFT JOIN rel AS o ON o.oid = d.refobjid
UNION ALL
SELECT CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
    s.prefix || f.proname || '(' || pg_get_function_identity_arguments(f.oid) || ')',
    json_build_object('definition', pg_get_functiondef(f.oid))::text
FROM pg_proc AS f JOIN space AS s ON s.oid = f.pronamespace
WHERE f.prokind IN ('f', 'p')
    AND (('pg_proc'::regclass)::oid, f.oid) NOT IN (SELECT classid, objid FROM member)
UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, s.prefix || t.typname, json_build_object(
    'labels', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid),
    'base', CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
    'default', t.typdefault, 'nullable', NOT t.typnotnull,
    'checks', (SELECT json_agg(pg_get_constraintdef(k.oid) ORDER BY k.conname)
        FROM pg_constraint AS k WHERE k.contypid = t.oid AND k.contype = 'c'),
    'fields', (SELECT json_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
        FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
)::text
FROM pg_type AS t JOIN space AS s ON s.oid = t.typnamespace LEFT JOIN pg_class AS c ON c.oid = t.typrelid
WHERE (t.typtype IN ('e', 'd') OR (t.typtype = 'c' AND c.relkind = 'c'))
    AND (('pg_type'::regclass)::oid, t.oid) NOT IN (SELECT classid, objid FROM member)
UNION ALL
SELECT 'schema', n.nspname, '{}' FROM pg_namespace AS n JOIN space AS s ON s.oid = n.oid WHERE n.nspname <> 'public'
UNION ALL
SELECT 'extension', extname, json_build_object('version', extversion)::text FROM pg_extension WHERE extname <> 'plpgsql'
"""


def read(connection: Connection) -> Iterator[Item]:
    """Yield every object outside of the system's schemas.

    The server omits a schema from definitions if `search_path` names the schema. So `search_path` is empty of user
    schemas during the query. An error during the query ends the transaction, and with the transaction the setting.
    """
    ((path,),) = rows(connection, "SELECT current_setting('search_path')")
    rows(connection, "SELECT set_config('search_path', 'pg_catalog', false)")
    found = rows(connection, _QUERY)
    rows(connection, "SELECT set_config('search_path', %s, false)", (path,))
    for kind, name, attributes in found:
        known = {key: value for key, value in json.loads(attributes).items() if value is not None or key == "default"}
        yield Item(kind, name, known)
