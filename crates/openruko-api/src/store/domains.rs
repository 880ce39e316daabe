//! Custom domains of apps.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id, revisions};
use crate::clock::{self, Millis};
use crate::hostname::Hostname;

/// What a [`DomainRow`] needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.id, d.hostname, d.sni_endpoint_id, e.name AS sni_endpoint, d.created_at, d.updated_at \
             FROM domains d LEFT JOIN sni_endpoints e ON e.id = d.sni_endpoint_id ",
            $rest
        )
    };
}

pub(crate) struct DomainRow {
    pub(crate) id: String,
    pub(crate) hostname: String,
    /// Id and name of its certificate.
    pub(crate) sni_endpoint: Option<(String, String)>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for DomainRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let id: Option<String> = row.try_get("sni_endpoint_id")?;
        let name: Option<String> = row.try_get("sni_endpoint")?;
        Ok(Self {
            id: row.try_get("id")?,
            hostname: row.try_get("hostname")?,
            sni_endpoint: id.zip(name),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// By name.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<DomainRow>> {
    sqlx::query_as(select!("WHERE d.app_id = $1 ORDER BY d.hostname")).bind(app_id).fetch_all(db).await
}

/// An app's domain, by its name or its id.
pub(crate) async fn find(db: &mut AnyConnection, app_id: &str, called: &str) -> Sql<Option<DomainRow>> {
    sqlx::query_as(select!("WHERE d.app_id = $1 AND (d.hostname = $2 OR d.id = $2)"))
        .bind(app_id)
        .bind(called)
        .fetch_optional(db)
        .await
}

pub(crate) async fn count_of_app(db: &mut AnyConnection, app_id: &str) -> Sql<u64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM domains WHERE app_id = $1").bind(app_id).fetch_one(db).await?;
    super::count(count)
}

/// Whether any app has exactly this name.
pub(crate) async fn is_taken(db: &mut AnyConnection, hostname: &Hostname) -> Sql<bool> {
    let found: Option<(String,)> = sqlx::query_as("SELECT id FROM domains WHERE hostname = $1")
        .bind(hostname.as_str())
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

/// Names of other owners' apps that a wildcard could cover, or the wildcard that could cover a name.
pub(crate) async fn near(db: &mut AnyConnection, hostname: &Hostname, owner_id: &str) -> Sql<Vec<String>> {
    let wildcard = hostname.wildcard_above();
    // No label of a host name has `%` or `_` in it.
    let below = hostname.as_str().strip_prefix('*').map(|domain| format!("%{domain}"));
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT d.hostname FROM domains d JOIN apps a ON a.id = d.app_id \
         WHERE a.owner_id <> $1 AND (d.hostname = $2 OR d.hostname LIKE $3)",
    )
    .bind(owner_id)
    .bind(wildcard)
    .bind(below)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(hostname,)| hostname).collect())
}

pub(crate) async fn insert(
    db: &mut AnyConnection,
    app_id: &str,
    hostname: &Hostname,
    sni_endpoint_id: Option<&str>,
) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO domains (id, app_id, hostname, sni_endpoint_id, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(id.as_str())
    .bind(app_id)
    .bind(hostname.as_str())
    .bind(sni_endpoint_id)
    .bind(clock::now())
    .execute(&mut *db)
    .await?;
    revisions::raise(db, app_id).await?;
    Ok(id)
}

/// Gives it another certificate, or none.
pub(crate) async fn set_sni_endpoint(
    db: &mut AnyConnection,
    app_id: &str,
    id: &str,
    sni_endpoint_id: Option<&str>,
) -> Sql<()> {
    sqlx::query("UPDATE domains SET sni_endpoint_id = $1, updated_at = $2 WHERE id = $3")
        .bind(sni_endpoint_id)
        .bind(clock::now())
        .bind(id)
        .execute(&mut *db)
        .await?;
    revisions::raise(db, app_id).await.map(drop)
}

pub(crate) async fn delete(db: &mut AnyConnection, app_id: &str, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM domains WHERE id = $1").bind(id).execute(&mut *db).await?;
    revisions::raise(db, app_id).await.map(drop)
}
