//! Storage over HTTP against a real object store, by S3 and by Swift: what is promised holds for both.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use ruko_presign::{Deed, Digest, Objects, S3, Swift};
use ruko_storage::{Patience, PutError, Storage, StorageError, StorageUrl, Stored};
use ruko_test_objects::{self as store, Door, Fault, Server};

const HOUR: Duration = Duration::from_secs(3600);

/// Attempts follow each other quickly here.
fn storage() -> Storage {
    Storage::with(Patience {
        tries: 4,
        pause: Duration::from_millis(5),
        silence: Duration::from_millis(1500),
    })
}

fn url_at(objects: &Objects, deed: Deed, key: &str, signed: SystemTime) -> StorageUrl {
    objects.url(deed, key, signed, HOUR).parse().unwrap()
}

fn url(objects: &Objects, deed: Deed, key: &str) -> StorageUrl {
    url_at(objects, deed, key, SystemTime::now())
}

fn put(objects: &Objects, key: &str, mut bytes: &[u8]) -> Result<Stored, PutError> {
    storage().put(&url(objects, Deed::Put, key), &mut bytes, u64::MAX)
}

fn read(url: &StorageUrl) -> Result<Option<Vec<u8>>, String> {
    let Some(mut object) = storage().get(url).map_err(|e| unsecret(e.to_string()))? else { return Ok(None) };
    let mut bytes = Vec::new();
    object.read_to_end(&mut bytes).map_err(|e| unsecret(e.to_string()))?;
    Ok(Some(bytes))
}

fn get(objects: &Objects, key: &str) -> Option<Vec<u8>> {
    read(&url(objects, Deed::Get, key)).unwrap()
}

/// An error with which nothing can be opened, on one line.
fn unsecret(error: String) -> String {
    for secret in ["X-Amz-Sig", "temp_url_", store::SECRET, store::TEMPURL_KEY] {
        assert!(!error.contains(secret), "{secret}: {error}");
    }
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn put_fails(url: &StorageUrl) -> String {
    match storage().put(url, &mut &b"abc"[..], 100) {
        Err(PutError::Storage(why)) => unsecret(why.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Runs a test by S3 and by Swift, with keys of its own.
fn on_both(test: impl Fn(fn(SocketAddr) -> Objects, &str)) {
    test(store::s3, "s3");
    test(store::swift, "swift");
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
}

#[test]
fn what_was_put_is_got_replaced_and_deleted() {
    let server = Server::shared().address();
    on_both(|at, name| {
        let objects = at(server);
        for size in [0, 3, 300 << 10, 5 << 20] {
            let (key, bytes) = (format!("basics/{name}/{size}.tar.gz"), bytes(size));
            assert_eq!(get(&objects, &key), None);
            let stored = put(&objects, &key, &bytes).unwrap();
            assert_eq!(stored.bytes, size as u64);
            assert!(get(&objects, &key).unwrap() == bytes, "{key}");
            let known = url(&objects, Deed::Get, &key);
            let mut again = Vec::new();
            ruko_storage::get_known(&known, &stored).unwrap().unwrap().read_to_end(&mut again).unwrap();
            put(&objects, &key, b"another").unwrap();
            assert_eq!(get(&objects, &key).unwrap(), b"another");
            let damaged = ruko_storage::get_known(&known, &stored).unwrap().unwrap().read_to_end(&mut again);
            assert!(unsecret(damaged.unwrap_err().to_string()).contains("is damaged"));
            for _ in 0..2 {
                storage().delete(&url(&objects, Deed::Delete, &key)).unwrap();
                assert_eq!(get(&objects, &key), None);
            }
        }
    });
}

#[test]
fn too_large_stores_nothing() {
    let server = Server::shared().address();
    on_both(|at, name| {
        let (objects, key) = (at(server), format!("large/{name}"));
        let refused = storage().put(&url(&objects, Deed::Put, &key), &mut std::io::repeat(0), 1 << 20);
        assert!(matches!(refused, Err(PutError::TooLarge { max }) if max == 1 << 20));
        assert_eq!(get(&objects, &key), None);
    });
}

#[test]
fn an_address_is_good_for_one_deed_and_for_its_time() {
    let server = Server::shared().address();
    on_both(|at, name| {
        let (objects, key) = (at(server), format!("deeds/{name}"));
        put(&objects, &key, b"kept").unwrap();
        let to_get = url(&objects, Deed::Get, &key);
        let why = put_fails(&to_get);
        assert!(why.contains("storage answered 40"), "{why}");
        assert!(storage().delete(&to_get).is_err());

        let expired = SystemTime::now() - 3 * HOUR;
        let late = read(&url_at(&objects, Deed::Get, &key, expired)).unwrap_err();
        assert!(late.contains("the address expired 2 hours ago"), "{late}");
        let late = put_fails(&url_at(&objects, Deed::Put, &key, expired));
        assert!(late.contains("the address expired 2 hours ago"), "{late}");
        assert_eq!(get(&objects, &key).unwrap(), b"kept");
    });
}

#[test]
fn a_wrong_key_and_a_wrong_place_are_told_apart() {
    let server = Server::shared().address();
    let endpoint = format!("http://{server}");
    let right = S3 {
        endpoint: &endpoint,
        region: store::REGION,
        path_style: true,
        bucket: store::BUCKET,
        access_key_id: store::ACCESS_KEY_ID,
        secret: store::SECRET,
    };
    for wrong in [S3 { secret: "wrong", ..right }, S3 { access_key_id: "nobody", ..right }] {
        let objects = Objects::s3(&wrong).unwrap();
        let why = read(&url(&objects, Deed::Get, "x")).unwrap_err();
        assert!(why.contains("storage answered 403 SignatureDoesNotMatch"), "{why}");
        assert!(why.ends_with("is the secret that of the access key, and the region right?"), "{why}");
        assert_eq!(put_fails(&url(&objects, Deed::Put, "x")), why.replace("cannot get", "cannot put"));
    }
    let elsewhere = Objects::s3(&S3 { region: "us-east-9", ..right }).unwrap();
    let why = read(&url(&elsewhere, Deed::Get, "x")).unwrap_err();
    assert!(why.contains("the region 'us-east-9' is wrong; expecting 'eu-test-1'"), "{why}");
    let nowhere = Objects::s3(&S3 { bucket: "missing", ..right }).unwrap();
    let why = read(&url(&nowhere, Deed::Get, "x")).unwrap_err();
    assert!(why.contains("NoSuchBucket") && why.contains("make it first"), "{why}");
    assert!(put_fails(&url(&nowhere, Deed::Put, "x")).contains("NoSuchBucket"));

    let account = store::account(server);
    let right =
        Swift { url: &account, container: store::BUCKET, key: store::TEMPURL_KEY, digest: Digest::Sha256 };
    for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha512] {
        let objects = Objects::swift(&Swift { digest, ..right }).unwrap();
        put(&objects, "digests", b"x").unwrap();
        assert_eq!(get(&objects, "digests").unwrap(), b"x");
    }
    let objects = Objects::swift(&Swift { key: "wrong", ..right }).unwrap();
    let why = read(&url(&objects, Deed::Get, "x")).unwrap_err();
    assert!(why.contains("storage answered 401") && why.contains("a TempURL key of the account"), "{why}");
    let nowhere = Objects::swift(&Swift { container: "missing", ..right }).unwrap();
    let why = put_fails(&url(&nowhere, Deed::Put, "x"));
    assert!(why.contains("the bucket or container is not there"), "{why}");
}

#[test]
fn a_connection_that_breaks_is_made_again_where_it_broke() {
    let server = Server::shared().address();
    let bytes = bytes(4 << 20);
    on_both(|at, name| {
        let key = format!("broken/{name}");
        put(&at(server), &key, &bytes).unwrap();
        let faults =
            [Fault::CutDown(0), Fault::CutDown(100), Fault::CutDown(1 << 20), Fault::CutDown(2 << 20)];
        let door = Door::to(server, &faults);
        assert!(get(&at(door.address()), &key).unwrap() == bytes);
        assert_eq!(door.opened(), 5);
    });
}

#[test]
fn what_is_sent_is_sent_again_until_it_is_stored_as_it_was_sent() {
    let server = Server::shared().address();
    let bytes = bytes(2 << 20);
    on_both(|at, name| {
        let key = format!("sent/{name}");
        let door = Door::to(server, &[Fault::CutUp(100), Fault::CutUp(1 << 20), Fault::Flip(1 << 20)]);
        put(&at(door.address()), &key, &bytes).unwrap();
        // What arrived wrong was refused on a connection that could be used again.
        assert_eq!(door.opened(), 3);
        assert!(get(&at(server), &key).unwrap() == bytes);
    });
}

#[test]
fn silence_ends_and_is_named() {
    let server = Server::shared().address();
    on_both(|at, name| {
        let door = Door::to(server, &[Fault::Silence]);
        put(&at(door.address()), &format!("silence/{name}"), b"at the second attempt").unwrap();
        assert_eq!(door.opened(), 2);
    });
    let door = Door::to(server, &[Fault::Silence; 9]);
    let impatient =
        Storage::with(Patience { tries: 2, pause: Duration::ZERO, silence: Duration::from_millis(200) });
    let why = impatient.get(&url(&store::s3(door.address()), Deed::Get, "x")).err().unwrap();
    assert!(unsecret(why.to_string()).contains("was silent for"), "{why}");
    assert!(why.to_string().ends_with("; tried 2 times"), "{why}");
}

#[test]
fn a_service_that_dies_in_the_middle_is_waited_for_and_then_given_up() {
    let server = Server::start();
    let bytes = bytes(8 << 20);
    on_both(|at, name| {
        let (objects, key) = (at(server.address()), format!("dying/{name}"));
        put(&objects, &key, &bytes).unwrap();
        let patient = Storage::with(Patience {
            tries: 9,
            pause: Duration::from_millis(50),
            silence: Duration::from_secs(5),
        });
        let mut object = patient.get(&url(&objects, Deed::Get, &key)).unwrap().unwrap();
        let mut got = vec![0; 1 << 20];
        object.read_exact(&mut got).unwrap();
        server.kill();
        std::thread::scope(|scope| {
            scope.spawn(|| server.start_again());
            object.read_to_end(&mut got).unwrap();
        });
        assert!(got == bytes);
    });
    server.kill();
    let objects = store::s3(server.address());
    let why = put(&objects, "dead", b"x").unwrap_err();
    assert!(matches!(why, PutError::Storage(StorageError::Http { .. })));
    assert!(unsecret(why.to_string()).contains("the connection failed"), "{why}");
    assert!(read(&url(&objects, Deed::Get, "dead")).unwrap_err().ends_with("; tried 4 times"));
}
