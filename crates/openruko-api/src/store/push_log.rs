//! The log of pushes: their records, with the app's name and what their steps took.

use ruko_api_types::RefUpdate;
use ruko_api_types::push_log::{PushRecord, StepTime, Steps};
use ruko_core::{AppName, PushId, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, FromRow, Row};

use super::pushes::PushRow;
use super::{Sql, parsed};
use crate::clock::{self, Millis};

/// Which pushes are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) app: Option<AppName>,
    pub(crate) user: Option<UserName>,
    /// Only those that came to nothing.
    pub(crate) failed: bool,
    /// The most entries.
    pub(crate) limit: u32,
}

pub(crate) struct LogRow {
    push: PushRow,
    app: AppName,
    refs: Vec<RefUpdate>,
    steps: Vec<StepTime>,
}

impl FromRow<'_, AnyRow> for LogRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            push: PushRow::from_row(row)?,
            app: parsed(row.try_get("app_name")?)?,
            refs: json(row.try_get("ref_updates")?)?,
            steps: json::<Steps>(row.try_get("steps")?)?.steps,
        })
    }
}

fn json<T: Default + serde::de::DeserializeOwned>(text: Option<String>) -> Sql<T> {
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    Ok(parsed.map_err(|e| sqlx::Error::Decode(Box::new(e)))?.unwrap_or_default())
}

impl LogRow {
    pub(crate) fn record(self, now: Millis) -> PushRecord {
        let Self { push, app, refs, steps } = self;
        let waited = steps.iter().filter(|time| time.step.is_waiting()).map(|time| time.ms);
        PushRecord {
            app,
            status: push.status(now),
            reason: push.reason(now).map(str::to_owned),
            release: push.release,
            refs,
            created_at: clock::rfc3339(push.created_at),
            ended_at: push.ended_at(now).map(clock::rfc3339),
            waited_ms: (!steps.is_empty()).then(|| waited.sum()),
            steps,
            push: push.id,
            user: push.user,
        }
    }
}

/// What a [`LogRow`] needs.
const SELECT: &str = "SELECT p.id, p.app_id, p.user_name, p.request_id, p.status, p.reason, p.repo_key, p.slug_key, \
     p.lease_ends, p.answer, p.release, p.output_bytes, p.created_at, p.ended_at, p.ref_updates, \
     a.name AS app_name, s.steps FROM pushes p JOIN apps a ON a.id = p.app_id \
     LEFT JOIN push_steps s ON s.push_id = p.id";

/// Newest first.
pub(crate) async fn list(db: &mut AnyConnection, filter: &Filter, now: Millis) -> Sql<Vec<LogRow>> {
    let Filter { app, user, failed, limit } = filter;
    let mut wanted = vec!["p.created_at <= $1".to_owned()];
    if *failed {
        wanted
            .push("(p.status IN ('failed', 'lost') OR (p.status = 'pending' AND p.lease_ends <= $1))".into());
    }
    let names =
        [("a.name", app.as_ref().map(AppName::as_str)), ("p.user_name", user.as_ref().map(UserName::as_str))];
    let names: Vec<_> = names.into_iter().filter_map(|(column, name)| Some((column, name?))).collect();
    wanted.extend(names.iter().zip(3..).map(|((column, _), number)| format!("{column} = ${number}")));
    // Made of words that stand here alone; what is asked for is bound.
    let text = format!("{SELECT} WHERE {} ORDER BY p.id DESC LIMIT $2", wanted.join(" AND "));
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(now).bind(i64::from(*limit));
    names.into_iter().fold(query, |query, (_, name)| query.bind(name.to_owned())).fetch_all(db).await
}

/// The entry of one push.
pub(crate) async fn find(db: &mut AnyConnection, id: &PushId) -> Sql<Option<LogRow>> {
    let text = format!("{SELECT} WHERE p.id = $1");
    sqlx::query_as(AssertSqlSafe(text)).bind(id.as_str()).fetch_optional(db).await
}

/// Keeps what the steps of a push took; told again, the last word counts.
pub(crate) async fn set_steps(db: &mut AnyConnection, id: &PushId, steps: &Steps) -> Sql<()> {
    let text = serde_json::to_string(steps).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    sqlx::query(
        "INSERT INTO push_steps (push_id, steps) VALUES ($1, $2) \
         ON CONFLICT (push_id) DO UPDATE SET steps = excluded.steps",
    )
    .bind(id.as_str())
    .bind(text)
    .execute(db)
    .await
    .map(drop)
}
