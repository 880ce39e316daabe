//! Callers who go away while their change is being made.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ruko_api_types::AuditEntry;

use super::developer::Developer;
use super::world::{ADMIN, World, app, user};

/// Has every entry of the audit take its time to be written, so that callers can go away before.
fn slow_audit(world: &World) {
    if world.home.database().starts_with("sqlite") {
        let counts = "CREATE TRIGGER slow BEFORE INSERT ON audit BEGIN SELECT count(*) FROM \
                      (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) \
                      SELECT i FROM n); END";
        world.execute(counts, &[]);
    } else {
        let counts = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                      PERFORM count(*) FROM generate_series(1, 4000000); RETURN NEW; END $$";
        world.execute(counts, &[]);
        world.execute("CREATE TRIGGER slow BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION slow()", &[]);
    }
}

/// Sends a request, and goes away as soon as what it changes is seen.
fn hang_up(url: &str, request: &str, token: &str, body: &str, is_changed: impl Fn() -> bool) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    until(request, is_changed);
    stream.shutdown(Shutdown::Both).unwrap();
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
    }
}

#[test]
fn a_change_that_stands_is_in_the_audit_though_its_caller_went_away() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    world.admin.add_user(&user("ann")).unwrap();
    slow_audit(&world);
    let shop = || world.admin.app(&app("shop"));
    hang_up(&world.public_url, "POST /apps/shop/collaborators", &matt.token, r#"{"user":"ann"}"#, || {
        shop().unwrap().collaborators == [user("ann")]
    });
    hang_up(&world.url, "DELETE /internal/apps/shop", ADMIN, "", || shop().is_err());
    let has = |entries: &[AuditEntry], action: &str| entries.iter().any(|entry| entry.action == action);
    until("both are in the audit", || {
        let entries = world.admin.audit(None, 100).unwrap();
        has(&entries, "POST /apps/{app}/collaborators") && has(&entries, "DELETE /internal/apps/{app}")
    });
}
