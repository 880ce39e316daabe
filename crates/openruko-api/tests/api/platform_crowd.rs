//! Many at a time.

use serde_json::json;

use super::developer::Developer;
use super::world::World;

const CLIENTS: usize = 200;

#[test]
fn two_hundred_clients_at_a_time_are_all_answered() {
    let world = World::new();
    let first = Developer::named(&world, "matt");
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = first.again();
            scope.spawn(move || {
                let name = format!("crowd-{number}");
                client.app(&name);
                client
                    .patch(&format!("/apps/{name}/config-vars"), json!({ "N": number.to_string() }))
                    .with(200);
                let newest = client.range(&format!("/apps/{name}/releases"), "version ..; order=desc,max=1");
                assert_eq!(newest.json()[0]["version"], 2);
                client.get(&format!("/apps/{name}/dynos")).with(200);
            });
        }
    });
    let apps = first.get("/apps").with(200);
    assert_eq!(apps.as_array().unwrap().len(), CLIENTS);
}
