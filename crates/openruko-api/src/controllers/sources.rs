//! Tarballs that wait to be built: what is past its time goes.

use std::collections::HashSet;

use crate::api::Api;
use crate::clock;
use crate::store::{Sql, sources};

/// Forgets the sources that nobody needs any more, and removes the files of those that are forgotten.
pub(crate) async fn tidy(api: &Api) -> Sql<()> {
    let Some(uploads) = &api.uploads else { return Ok(()) };
    // Looked at first: what comes later belongs to a source that is listed below.
    let names = uploads.names().await?;
    let mut db = api.store.write().await?;
    sources::forget_expired(&mut db, clock::now()).await?;
    let known: HashSet<String> = sources::ids(&mut db).await?.into_iter().collect();
    db.commit().await?;
    uploads.sweep(&names, &known).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use ruko_core::PushId;

    use super::*;
    use crate::controllers::builds::give_up_waiting;
    use crate::log::Logs;
    use crate::store::pushes::{self, NewPush};
    use crate::store::{Store, apps, builds, users};
    use crate::token::Token;
    use crate::uploads::Uploads;

    async fn source(api: &Api, user_id: &str, expires_at: clock::Millis) -> String {
        let (put, get) = (Token::generate_plain().unwrap(), Token::generate_plain().unwrap());
        let mut db = api.store.write().await.unwrap();
        let id = sources::insert(&mut db, user_id, &put, &get, expires_at).await.unwrap();
        db.commit().await.unwrap();
        api.uploads.as_ref().unwrap().store(&id, "x".into(), 9).await.unwrap();
        id
    }

    async fn build_waits_for(api: &Api, user: &users::UserRow, source_id: &str) {
        let mut db = api.store.write().await.unwrap();
        let (name, stack) = ("shop".parse().unwrap(), "openruko-12".parse().unwrap());
        let app_id = apps::insert(&mut db, &name, user, &stack).await.unwrap();
        let id = PushId::generate();
        let new = NewPush {
            id: &id,
            app_id: &app_id,
            user: &user.name,
            request_id: "r",
            repo_key: "k",
            slug_key: "k",
            now: 0,
            lease_ends: 0,
        };
        pushes::queue(&mut db, new).await.unwrap();
        builds::insert(&mut db, &id, source_id, None, None).await.unwrap();
        db.commit().await.unwrap();
    }

    #[test]
    fn what_is_past_its_time_goes_unless_a_build_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::in_dir(dir.path()).await;
            let uploads = Uploads::at(&dir.path().join("uploads")).unwrap();
            let key = Token::generate_plain().unwrap();
            let api = Api::new(
                crate::settings::tests::in_dir(dir.path()),
                store,
                Some(uploads),
                Logs::at(None).unwrap(),
                key,
            );
            let mut db = api.store.write().await.unwrap();
            let matt = users::insert(&mut db, &"matt".parse().unwrap()).await.unwrap();
            db.commit().await.unwrap();
            let (_old, needed) = (source(&api, &matt.id, 1).await, source(&api, &matt.id, 1).await);
            let young = source(&api, &matt.id, clock::now() + 60_000).await;
            build_waits_for(&api, &matt, &needed).await;
            tidy(&api).await.unwrap();
            let mut left = api.uploads.as_ref().unwrap().names().await.unwrap();
            left.sort();
            assert_eq!(left, [format!("{needed}.tar.gz"), format!("{young}.tar.gz")]);
            // The build has waited since 1970.
            give_up_waiting(&api).await.unwrap();
            tidy(&api).await.unwrap();
            assert_eq!(api.uploads.as_ref().unwrap().names().await.unwrap(), [format!("{young}.tar.gz")]);
        });
    }
}
