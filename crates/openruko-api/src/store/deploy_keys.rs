//! The keys with which builds fetch private submodules: one of each app at most.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::Sql;
use crate::clock::{self, Millis};
use crate::deploy_key::DeployKey;

pub(crate) struct DeployKeyRow {
    pub(crate) public_key: String,
    pub(crate) private_key: String,
    pub(crate) fingerprint: String,
    /// Lines of known_hosts.
    pub(crate) known_hosts: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for DeployKeyRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            public_key: row.try_get("public_key")?,
            private_key: row.try_get("private_key")?,
            fingerprint: row.try_get("fingerprint")?,
            known_hosts: row.try_get("known_hosts")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Option<DeployKeyRow>> {
    sqlx::query_as(
        "SELECT public_key, private_key, fingerprint, known_hosts, created_at, updated_at FROM deploy_keys \
         WHERE app_id = $1",
    )
    .bind(app_id)
    .fetch_optional(db)
    .await
}

/// In place of the one that there was.
pub(crate) async fn set(db: &mut AnyConnection, app_id: &str, key: &DeployKey, known_hosts: &str) -> Sql<()> {
    sqlx::query(
        "INSERT INTO deploy_keys (app_id, public_key, private_key, fingerprint, known_hosts, created_at, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (app_id) DO UPDATE SET \
         public_key = excluded.public_key, private_key = excluded.private_key, \
         fingerprint = excluded.fingerprint, known_hosts = excluded.known_hosts, \
         created_at = excluded.created_at, updated_at = excluded.updated_at",
    )
    .bind(app_id)
    .bind(key.public.as_str())
    .bind(key.private.as_str())
    .bind(key.fingerprint.as_str())
    .bind(known_hosts)
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

pub(crate) async fn set_known_hosts(db: &mut AnyConnection, app_id: &str, known_hosts: &str) -> Sql<()> {
    sqlx::query("UPDATE deploy_keys SET known_hosts = $1, updated_at = $2 WHERE app_id = $3")
        .bind(known_hosts)
        .bind(clock::now())
        .bind(app_id)
        .execute(db)
        .await
        .map(drop)
}

pub(crate) async fn delete(db: &mut AnyConnection, app_id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM deploy_keys WHERE app_id = $1").bind(app_id).execute(db).await.map(drop)
}
