//! Who changed what.

use std::net::IpAddr;

use ruko_api_types::AuditEntry;
use ruko_core::{AppName, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id};
use crate::clock::{self, Millis};

/// A change that was made.
pub(crate) struct Change {
    pub(crate) user: UserName,
    /// Where it came from.
    pub(crate) address: String,
    /// The call, as it stands in the table of calls.
    pub(crate) action: String,
    /// The app's id and its name at that moment.
    pub(crate) app: Option<(String, AppName)>,
    /// The path as it was called: what the call was about.
    pub(crate) detail: String,
}

pub(crate) async fn insert(db: &mut AnyConnection, change: &Change) -> Sql<()> {
    sqlx::query(
        "INSERT INTO audit (id, at, user_name, address, action, app_id, app_name, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new_id())
    .bind(clock::now())
    .bind(change.user.as_str())
    .bind(change.address.as_str())
    .bind(change.action.as_str())
    .bind(change.app.as_ref().map(|(id, _)| id.as_str()))
    .bind(change.app.as_ref().map(|(_, name)| name.as_str()))
    .bind(change.detail.as_str())
    .execute(db)
    .await
    .map(drop)
}

/// Who is recorded for what an admin did on the machine itself: no user can be called so.
pub(crate) const ON_THE_MACHINE: &str = "openruko admin";

/// Records a change by `openruko admin`: the call, what it was about, and the app by id and name, if it was one.
pub(crate) async fn insert_admins(
    db: &mut AnyConnection,
    action: &str,
    detail: &str,
    app: Option<&(String, AppName)>,
) -> Sql<()> {
    sqlx::query(
        "INSERT INTO audit (id, at, user_name, address, action, app_id, app_name, detail) \
         VALUES ($1, $2, $3, '', $4, $5, $6, $7)",
    )
    .bind(new_id())
    .bind(clock::now())
    .bind(ON_THE_MACHINE)
    .bind(action)
    .bind(app.map(|(id, _)| id.as_str()))
    .bind(app.map(|(_, name)| name.as_str()))
    .bind(detail)
    .execute(db)
    .await
    .map(drop)
}

/// What is recorded of a login.
pub(crate) const LOGIN: &str = "login";

/// What is recorded of an attempt that failed.
pub(crate) const LOGIN_FAILED: &str = "login failed";

/// For how long failed logins are kept.
const FAILURES_KEPT: Millis = 30 * 24 * 3_600_000;

/// How many failed logins are kept: strangers must not fill the disk with them.
const MAX_FAILURES: i64 = 5000;

/// A login, or an attempt.
pub(crate) struct Login<'a> {
    /// Never what was typed: people type passwords where a name is asked for.
    pub(crate) user: Option<&'a UserName>,
    pub(crate) address: IpAddr,
    /// [`LOGIN`] or [`LOGIN_FAILED`].
    pub(crate) action: &'static str,
    /// How, or what was wrong.
    pub(crate) detail: &'a str,
}

pub(crate) async fn insert_login(db: &mut AnyConnection, login: Login<'_>) -> Sql<()> {
    let now = clock::now();
    sqlx::query(
        "INSERT INTO audit (id, at, user_name, address, action, detail) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new_id())
    .bind(now)
    .bind(login.user.map_or("", UserName::as_str))
    .bind(login.address.to_string())
    .bind(login.action)
    .bind(login.detail)
    .execute(&mut *db)
    .await?;
    if login.action == LOGIN_FAILED { forget_failures(db, now, MAX_FAILURES).await } else { Ok(()) }
}

/// Forgets the failed logins that are old, and those beyond the number that is kept.
async fn forget_failures(db: &mut AnyConnection, now: Millis, kept: i64) -> Sql<()> {
    sqlx::query(
        "DELETE FROM audit WHERE action = $1 AND (at < $2 OR id <= \
         (SELECT id FROM audit WHERE action = $1 ORDER BY id DESC LIMIT 1 OFFSET $3))",
    )
    .bind(LOGIN_FAILED)
    .bind(now - FAILURES_KEPT)
    .bind(kept)
    .execute(db)
    .await
    .map(drop)
}

struct Entry(AuditEntry);

impl FromRow<'_, AnyRow> for Entry {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self(AuditEntry {
            at: clock::rfc3339(row.try_get("at")?),
            user: row.try_get("user_name")?,
            address: row.try_get("address")?,
            action: row.try_get("action")?,
            app: row.try_get("app_name")?,
            detail: row.try_get("detail")?,
        }))
    }
}

/// The latest entries, newest first.
pub(crate) async fn latest(db: &mut AnyConnection, limit: u32) -> Sql<Vec<AuditEntry>> {
    let found: Vec<Entry> = sqlx::query_as(
        "SELECT at, user_name, address, action, app_name, detail FROM audit ORDER BY id DESC LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().map(|Entry(entry)| entry).collect())
}

/// The latest entries of an app, newest first: of the one that has this name now, under every name that it
/// had, and of those that had it before.
pub(crate) async fn of_app(db: &mut AnyConnection, app: &AppName, limit: u32) -> Sql<Vec<AuditEntry>> {
    let found: Vec<Entry> = sqlx::query_as(
        "SELECT at, user_name, address, action, app_name, detail FROM audit \
         WHERE app_name = $1 OR app_id = (SELECT id FROM apps WHERE name = $1) ORDER BY id DESC LIMIT $2",
    )
    .bind(app.as_str())
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().map(|Entry(entry)| entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn failed_logins_are_bounded_and_nothing_else_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::in_dir(dir.path()).await;
            let mut db = store.write().await.unwrap();
            let login = |action| Login { user: None, address: [127, 0, 0, 1].into(), action, detail: "x" };
            insert_login(&mut db, login(LOGIN)).await.unwrap();
            for _ in 0..20 {
                insert_login(&mut db, login(LOGIN_FAILED)).await.unwrap();
            }
            assert_eq!(latest(&mut db, 100).await.unwrap().len(), 21);
            forget_failures(&mut db, clock::now(), 5).await.unwrap();
            let kept = latest(&mut db, 100).await.unwrap();
            // Those of one millisecond have no order among themselves.
            assert_eq!(kept.len(), 6);
            assert!(kept.iter().any(|entry| entry.action == LOGIN));
            forget_failures(&mut db, clock::now() + FAILURES_KEPT + 60_000, 5).await.unwrap();
            assert_eq!(latest(&mut db, 100).await.unwrap().len(), 1);
        });
    }
}
