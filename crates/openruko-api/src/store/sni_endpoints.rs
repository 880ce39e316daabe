//! Certificates of apps, with their keys.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id, revisions};
use crate::certificate::Certificate;
use crate::clock::{self, Millis};

/// What an [`SniEndpointRow`] needs: not the private key, which nobody is told.
macro_rules! columns {
    () => {
        "id, name, certificate_chain, created_at, updated_at"
    };
}

pub(crate) struct SniEndpointRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// PEM.
    pub(crate) certificate_chain: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for SniEndpointRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            certificate_chain: row.try_get("certificate_chain")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// A certificate with its key, as the router has them.
pub(crate) struct KeyPair {
    pub(crate) id: String,
    /// PEM.
    pub(crate) certificate_chain: String,
    /// PEM.
    pub(crate) private_key: String,
}

impl FromRow<'_, AnyRow> for KeyPair {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            certificate_chain: row.try_get("certificate_chain")?,
            private_key: row.try_get("private_key")?,
        })
    }
}

/// With their keys, in the order in which they were added.
pub(crate) async fn pairs_of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<KeyPair>> {
    sqlx::query_as(
        "SELECT id, certificate_chain, private_key FROM sni_endpoints WHERE app_id = $1 ORDER BY id",
    )
    .bind(app_id)
    .fetch_all(db)
    .await
}

/// In the order in which they were added.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<SniEndpointRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM sni_endpoints WHERE app_id = $1 ORDER BY id"))
        .bind(app_id)
        .fetch_all(db)
        .await
}

/// An app's certificate, by its name or its id.
pub(crate) async fn find(db: &mut AnyConnection, app_id: &str, called: &str) -> Sql<Option<SniEndpointRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM sni_endpoints WHERE app_id = $1 AND (name = $2 OR id = $2)"
    ))
    .bind(app_id)
    .bind(called)
    .fetch_optional(db)
    .await
}

/// The ids of the domains that use it.
pub(crate) async fn domains(db: &mut AnyConnection, id: &str) -> Sql<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM domains WHERE sni_endpoint_id = $1 ORDER BY hostname")
            .bind(id)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Gives the new one's id.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    app_id: &str,
    name: &str,
    certificate: &Certificate,
) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO sni_endpoints (id, app_id, name, certificate_chain, private_key, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
    )
    .bind(id.as_str())
    .bind(app_id)
    .bind(name)
    .bind(certificate.chain.as_str())
    .bind(certificate.private_key.as_str())
    .bind(clock::now())
    .execute(&mut *db)
    .await?;
    revisions::raise(db, app_id).await?;
    Ok(id)
}

pub(crate) async fn replace(
    db: &mut AnyConnection,
    app_id: &str,
    id: &str,
    certificate: &Certificate,
) -> Sql<()> {
    sqlx::query(
        "UPDATE sni_endpoints SET certificate_chain = $1, private_key = $2, updated_at = $3 WHERE id = $4",
    )
    .bind(certificate.chain.as_str())
    .bind(certificate.private_key.as_str())
    .bind(clock::now())
    .bind(id)
    .execute(&mut *db)
    .await?;
    revisions::raise(db, app_id).await.map(drop)
}

/// Domains that used it have none afterwards.
pub(crate) async fn delete(db: &mut AnyConnection, app_id: &str, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM sni_endpoints WHERE id = $1").bind(id).execute(&mut *db).await?;
    revisions::raise(db, app_id).await.map(drop)
}
