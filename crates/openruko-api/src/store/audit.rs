//! Who changed what.

use ruko_core::{AppName, UserName};
use sqlx::AnyConnection;

use super::{Sql, new_id};
use crate::clock;

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
