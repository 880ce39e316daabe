//! Users, keys and apps.

use super::world::{FINGERPRINT, KEY, World, app, user};

#[test]
fn users_are_made_once_listed_and_removed() {
    let world = World::new();
    let made = world.admin.add_user(&user("matt")).unwrap();
    assert!(made.new);
    let again = world.admin.add_user(&user("matt")).unwrap();
    assert_eq!((again.new, &again.thing), (false, &made.thing));
    world.admin.add_user(&user("ann")).unwrap();
    let names: Vec<_> = world.admin.users().unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, [user("ann"), user("matt")]);
    world.admin.remove_user(&user("ann")).unwrap();
    assert_eq!(world.admin.remove_user(&user("ann")).unwrap_err().status(), Some(404));
    assert_eq!(world.admin.users().unwrap().len(), 1);
}

#[test]
fn a_user_who_owns_apps_cannot_be_removed() {
    let world = World::with_shop("");
    let error = world.admin.remove_user(&user("matt")).unwrap_err();
    assert_eq!((error.status(), error.to_string().contains("`shop`")), (Some(409), true), "{error}");
    world.admin.destroy_app(&app("shop")).unwrap();
    world.admin.remove_user(&user("matt")).unwrap();
}

#[test]
fn a_key_belongs_to_one_user_and_is_found_by_its_fingerprint() {
    let world = World::with_shop("");
    world.admin.add_user(&user("ann")).unwrap();
    assert_eq!(world.serve.key(FINGERPRINT).unwrap(), None);
    let made = world.admin.add_key(&user("matt"), format!("{KEY} matt@laptop\n")).unwrap();
    assert!(made.new);
    assert_eq!((made.thing.fingerprint.as_str(), made.thing.public_key.as_str()), (FINGERPRINT, KEY));
    assert_eq!(made.thing.comment, "matt@laptop");
    assert!(!world.admin.add_key(&user("matt"), KEY.into()).unwrap().new);
    let error = world.admin.add_key(&user("ann"), KEY.into()).unwrap_err();
    assert_eq!((error.status(), error.to_string().contains("`matt`")), (Some(409), true), "{error}");

    let owner = world.serve.key(FINGERPRINT).unwrap().unwrap();
    assert_eq!((owner.user.as_str(), owner.public_key.as_str()), ("matt", KEY));
    assert_eq!(world.admin.keys(&user("matt")).unwrap(), [made.thing]);

    assert_eq!(world.admin.remove_key(&user("ann"), FINGERPRINT).unwrap_err().status(), Some(404));
    world.admin.remove_key(&user("matt"), FINGERPRINT).unwrap();
    assert_eq!(world.serve.key(FINGERPRINT).unwrap(), None);
    assert!(world.admin.add_key(&user("ann"), KEY.into()).unwrap().new);
}

#[test]
fn all_keys_come_in_pieces_and_whoever_logs_in_is_greeted() {
    let world = World::with_shop("");
    world.admin.add_user(&user("ann")).unwrap();
    let [own, others] = [1, 2].map(|n| {
        let field = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
        format!("ssh-ed25519 {}", base64(&[field(b"ssh-ed25519"), field(&[n; 32])].concat()))
    });
    world.admin.add_key(&user("matt"), format!("{own} matt@laptop")).unwrap();
    world.admin.add_key(&user("ann"), others.clone()).unwrap();
    let page = world.serve.keys_after("").unwrap();
    let told: Vec<_> = page.keys.iter().map(|key| (key.user.as_str(), key.public_key.as_str())).collect();
    assert_eq!(told, [("matt", own.as_str()), ("ann", others.as_str())]);
    assert_eq!(page.next, None);
    let after = world.serve.keys_after(&page.keys[0].key).unwrap();
    assert_eq!(after.keys, page.keys[1..]);

    let greeting = world.serve.greeting(&user("matt"), &page.keys[0].key).unwrap();
    assert_eq!(greeting.key.unwrap().comment, "matt@laptop");
    assert_eq!((greeting.apps, greeting.app_count), (vec![app("shop")], 1));
    assert_eq!(greeting.ssh_url.as_deref(), Some("ssh://git@git.test:2222/{app}.git"));
    world.admin.add_collaborator(&app("shop"), &user("ann")).unwrap();
    let greeting = world.serve.greeting(&user("ann"), &page.keys[0].key).unwrap();
    assert_eq!((greeting.key, greeting.app_count), (None, 1), "another one's key is not told");
    assert_eq!(world.serve.greeting(&user("eve"), "").unwrap_err().status(), Some(404));
}

#[test]
fn the_keys_of_a_removed_user_open_nothing() {
    let world = World::new();
    world.admin.add_user(&user("eve")).unwrap();
    world.admin.add_key(&user("eve"), KEY.into()).unwrap();
    world.admin.remove_user(&user("eve")).unwrap();
    assert_eq!(world.serve.key(FINGERPRINT).unwrap(), None);
}

#[test]
fn what_is_no_public_key_is_refused_with_a_sentence() {
    let world = World::with_shop("");
    for (text, word) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n".to_owned(), "private"),
        (format!("restrict {KEY}"), "Options"),
        (format!("{KEY}\n{KEY}"), "several"),
        ("ssh-ed25519 AAAA".to_owned(), "not a public key"),
    ] {
        let error = world.admin.add_key(&user("matt"), text).unwrap_err();
        assert_eq!(error.status(), Some(422));
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(world.admin.add_key(&user("nobody"), KEY.into()).unwrap_err().status(), Some(404));
}

#[test]
fn a_fingerprint_with_slashes_and_pluses_is_found_and_removed() {
    let world = World::with_shop("");
    // A made-up key type, tried until its fingerprint has both: only the form matters to the API.
    let (line, fingerprint) = (0u32..)
        .map(|n| {
            let field = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
            let blob = [field(b"ssh-ed25519"), field(&n.to_be_bytes().repeat(8))].concat();
            (format!("ssh-ed25519 {}", base64(&blob)), fingerprint(&blob))
        })
        .find(|(_, fingerprint)| fingerprint.contains('/') && fingerprint.contains('+'))
        .unwrap();
    let made = world.admin.add_key(&user("matt"), line).unwrap();
    assert_eq!(made.thing.fingerprint, fingerprint);
    assert!(world.serve.key(&fingerprint).unwrap().is_some());
    world.admin.remove_key(&user("matt"), &fingerprint).unwrap();
    assert!(world.serve.key(&fingerprint).unwrap().is_none());
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn fingerprint(blob: &[u8]) -> String {
    use base64::Engine;
    use sha2::Digest;
    let digest = sha2::Sha256::digest(blob);
    format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest))
}

#[test]
fn an_app_has_one_owner_and_creating_it_again_for_them_changes_nothing() {
    let world = World::with_shop("");
    world.admin.add_user(&user("ann")).unwrap();
    let again = world.admin.create_app(&app("shop"), &user("matt")).unwrap();
    assert!(!again.new);
    let error = world.admin.create_app(&app("shop"), &user("ann")).unwrap_err();
    assert_eq!(error.status(), Some(409));
    assert_eq!(world.admin.create_app(&app("blog"), &user("nobody")).unwrap_err().status(), Some(404));
    assert!(world.admin.create_app(&app("blog"), &user("ann")).unwrap().new);
    let names: Vec<_> = world.admin.apps().unwrap().into_iter().map(|app| app.name).collect();
    assert_eq!(names, [app("blog"), app("shop")]);

    let shop = world.admin.app(&app("shop")).unwrap();
    assert_eq!((shop.owner.as_str(), shop.stack.as_str()), ("matt", "openruko-12"));
    assert_eq!(
        (shop.repo_version, shop.release, shop.web_url.as_str()),
        (0, 1, "http://shop.localhost:8080/")
    );
}

#[test]
fn collaborators_come_and_go_and_the_owner_stays() {
    let world = World::with_shop("");
    world.admin.add_user(&user("ann")).unwrap();
    for _ in 0..2 {
        world.admin.add_collaborator(&app("shop"), &user("ann")).unwrap();
    }
    world.admin.add_collaborator(&app("shop"), &user("matt")).unwrap();
    assert_eq!(world.admin.app(&app("shop")).unwrap().collaborators, [user("ann")]);
    assert_eq!(world.admin.remove_collaborator(&app("shop"), &user("matt")).unwrap_err().status(), Some(409));
    world.admin.remove_collaborator(&app("shop"), &user("ann")).unwrap();
    assert_eq!(world.admin.remove_collaborator(&app("shop"), &user("ann")).unwrap_err().status(), Some(404));
    assert_eq!(world.admin.add_collaborator(&app("shop"), &user("nobody")).unwrap_err().status(), Some(404));
}

#[test]
fn buildpacks_keep_their_order_and_bad_ones_change_nothing() {
    let world = World::with_shop("");
    let wanted = vec!["zeta".to_owned(), "alpha".into()];
    assert_eq!(world.admin.set_buildpacks(&app("shop"), wanted.clone()).unwrap().buildpacks, wanted);
    let error = world.admin.set_buildpacks(&app("shop"), vec!["--upload-pack=x".into()]).unwrap_err();
    assert_eq!(error.status(), Some(422));
    assert_eq!(world.admin.app(&app("shop")).unwrap().buildpacks, wanted);
    world.admin.set_buildpacks(&app("shop"), vec![]).unwrap();
    assert!(world.admin.app(&app("shop")).unwrap().buildpacks.is_empty());
}

#[test]
fn config_vars_have_bounds_that_are_named() {
    let world = World::with_shop("");
    let set = |value: String| {
        let change = [("BIG".parse().unwrap(), Some(value))].into();
        world.admin.change_config_vars(&app("shop"), &change)
    };
    // The largest value that is allowed, in the form that JSON writes longest.
    set("\u{1}".repeat(65536)).unwrap();
    let error = set("x".repeat(65537)).unwrap_err();
    assert_eq!((error.status(), error.to_string().contains("65536")), (Some(422), true), "{error}");
}
