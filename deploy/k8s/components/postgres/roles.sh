#!/bin/bash
# Makes the roles, the database and the notifier's schema: docs/operations.md, "Roles of the database". PostgreSQL's image
# runs it once, when the data folder is new. The roles' passwords are those of the URLs in the services' secrets.
set -euo pipefail
secrets=${CALOTYPE_SECRETS:-/run/secrets}

# The password of a URL postgresql://ROLE:PASSWORD@HOST:PORT/NAME, in a file.
password() {
    local url
    url=$(cat "$1")
    url=${url#*://*:}
    printf '%s' "${url%%@*}"
}

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres \
    --set job_password="$(password "$secrets/job/url")" --set notifier_password="$(password "$secrets/notifier/url")" <<'SQL'
CREATE ROLE calotype LOGIN PASSWORD :'job_password';
CREATE ROLE calotype_notifier LOGIN PASSWORD :'notifier_password';
CREATE DATABASE calotype OWNER calotype;
\connect calotype
REVOKE ALL ON DATABASE calotype FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE calotype TO calotype_notifier;
CREATE SCHEMA notifier AUTHORIZATION calotype_notifier;
ALTER ROLE calotype_notifier IN DATABASE calotype SET search_path = notifier;
SQL
