//! The buildpacks that an app names, in order.

use sqlx::AnyConnection;

use super::{Sql, big};

pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<String>> {
    let urls: Vec<(String,)> =
        sqlx::query_as("SELECT url FROM app_buildpacks WHERE app_id = $1 ORDER BY position")
            .bind(app_id)
            .fetch_all(db)
            .await?;
    Ok(urls.into_iter().map(|(url,)| url).collect())
}

pub(crate) async fn replace(db: &mut AnyConnection, app_id: &str, urls: &[String]) -> Sql<()> {
    sqlx::query("DELETE FROM app_buildpacks WHERE app_id = $1").bind(app_id).execute(&mut *db).await?;
    for (position, url) in (0..).zip(urls) {
        sqlx::query("INSERT INTO app_buildpacks (app_id, position, url) VALUES ($1, $2, $3)")
            .bind(app_id)
            .bind(big(position)?)
            .bind(url.as_str())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
