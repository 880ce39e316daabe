//! Certificates at the Platform API.

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::developer::{Answer, Developer};
use super::world::World;

const ENDPOINTS: &str = "/apps/shop/sni-endpoints";

/// A certificate signed with its own key, and the key.
fn pair(params: CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "shop of matt");
    params
}

fn add(developer: &Developer, (chain, key): &(String, String)) -> Answer {
    developer.post(ENDPOINTS, json!({ "certificate_chain": chain, "private_key": key }))
}

fn matt(world: &World) -> Developer {
    let matt = Developer::named(world, "matt");
    matt.app("shop");
    matt
}

#[test]
fn a_certificate_is_added_used_replaced_and_removed() {
    let world = World::new();
    let matt = matt(&world);
    let pair_1 = pair(params(&["www.example.test", "*.example.test"]));
    let endpoint = add(&matt, &pair_1).with(201);
    let cert = &endpoint["ssl_cert"];
    assert_eq!(cert["cert_domains"], json!(["www.example.test", "*.example.test"]));
    assert_eq!((&cert["self_signed?"], &cert["ca_signed?"]), (&json!(true), &json!(false)));
    assert!(cert["subject"].as_str().unwrap().contains("CN=shop of matt"), "{cert}");
    assert!(!endpoint.to_string().contains("PRIVATE"));
    let name = endpoint["name"].as_str().unwrap();

    let new = json!({ "hostname": "www.example.test", "sni_endpoint": name });
    let domain = matt.post("/apps/shop/domains", new).with(201);
    assert_eq!(domain["sni_endpoint"]["name"], *name);
    let shown = matt.get(&format!("{ENDPOINTS}/{name}")).with(200);
    assert_eq!(shown["domains"], json!([domain["id"]]));
    assert_eq!(matt.get(ENDPOINTS).with(200), json!([shown]));

    let (chain, key) = pair(params(&["shop.example.test"]));
    let at = format!("{ENDPOINTS}/{}", endpoint["id"].as_str().unwrap());
    let replaced = matt.patch(&at, json!({ "certificate_chain": chain, "private_key": key })).with(200);
    assert_eq!(replaced["ssl_cert"]["cert_domains"], json!(["shop.example.test"]));
    assert_eq!(replaced["name"], *name);

    matt.delete(&at).with(200);
    assert_eq!(matt.get(&at).refused().0, 404);
    let domain = matt.get("/apps/shop/domains/www.example.test").with(200);
    assert_eq!(domain["sni_endpoint"], Value::Null);
}

#[test]
fn a_domain_gets_another_certificate_and_none() {
    let world = World::new();
    let matt = matt(&world);
    let name = add(&matt, &pair(params(&["a.test.test"]))).with(201)["name"].clone();
    matt.post("/apps/shop/domains", json!({ "hostname": "a.test.test", "sni_endpoint": null })).with(201);
    let at = "/apps/shop/domains/a.test.test";
    assert_eq!(matt.patch(at, json!({ "sni_endpoint": name })).with(200)["sni_endpoint"]["name"], name);
    assert_eq!(matt.patch(at, json!({ "sni_endpoint": null })).with(200)["sni_endpoint"], Value::Null);
    let (status, _, message) = matt.patch(at, json!({ "sni_endpoint": "nothere" })).refused();
    assert!(status == 422 && message.contains("nothere"), "{message}");
}

#[test]
fn what_cannot_be_used_is_refused_in_words() {
    let world = World::new();
    let matt = matt(&world);
    let good = pair(params(&["a.test.test"]));
    let other = pair(params(&["b.test.test"]));
    let mut old = params(&["a.test.test"]);
    old.not_before = date_time_ymd(2001, 1, 1);
    old.not_after = date_time_ymd(2002, 1, 1);
    let mut nameless = CertificateParams::new(Vec::new()).unwrap();
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = good.1.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let mut signer = params(&[]);
    signer.distinguished_name.push(DnType::CommonName, "somebody");
    let unrelated = format!("{}{}", good.0, pair(signer).0);
    for (chain, key, word) in [
        ("", good.1.as_str(), "no certificate"),
        (garbage, &good.1, "Certificate 1 of the chain cannot be read"),
        (&good.0, "", "no private key"),
        (&good.0, &other.1, "does not belong"),
        (&good.0, &encrypted, "passphrase"),
        (&unrelated, &good.1, "Certificate 2 of the chain did not sign"),
        (&good.0.repeat(11), &good.1, "more than 10"),
    ] {
        let (status, id, message) = add(&matt, &(chain.to_owned(), key.to_owned())).refused();
        assert_eq!((status, id.as_str()), (422, "invalid_params"), "{message}");
        assert!(message.contains(word), "{word}: {message}");
    }
    let (_, _, message) = add(&matt, &pair(old)).refused();
    assert!(message.contains("expired on 2002-01-01"), "{message}");
    let (_, _, message) = add(&matt, &pair(nameless)).refused();
    assert!(message.contains("for no host name"), "{message}");
    assert_eq!(matt.get(ENDPOINTS).with(200), json!([]));
}

#[test]
fn automatic_certificates_are_wished_for_and_the_answer_is_honest() {
    let world = World::new();
    let matt = matt(&world);
    matt.post("/apps/shop/domains", json!({ "hostname": "a.test.test", "sni_endpoint": null })).with(201);
    let answer = matt.post("/apps/shop/acm", json!({}));
    assert!(answer.header("warning-message").contains("not obtain certificates"), "{answer:?}");
    assert_eq!(answer.with(200)["acm"], true);
    let domain = matt.get("/apps/shop/domains/a.test.test").with(200);
    assert_eq!(domain["acm_status"], "failed");
    assert!(domain["acm_status_reason"].as_str().unwrap().contains("certs:add"), "{domain}");
    let answer = matt.patch("/apps/shop/acm", json!({ "acm_refresh": true }));
    assert!(!answer.header("warning-message").is_empty());
    assert_eq!(matt.delete("/apps/shop/acm").with(200)["acm"], false);
    assert_eq!(matt.get("/apps/shop/domains/a.test.test").with(200)["acm_status"], Value::Null);
}

#[test]
fn certificates_need_the_permission_to_operate() {
    let world = World::new();
    let matt = matt(&world);
    let good = pair(params(&["a.test.test"]));
    let name = add(&matt, &good).with(201)["name"].as_str().unwrap().to_owned();
    let ann = Developer::named(&world, "ann");
    assert_eq!(ann.get(ENDPOINTS).refused().0, 404);
    world.gives("ann", "view");
    assert_eq!(ann.get(ENDPOINTS).with(200).as_array().unwrap().len(), 1);
    assert_eq!(add(&ann, &good).refused().0, 403);
    assert_eq!(ann.delete(&format!("{ENDPOINTS}/{name}")).refused().0, 403);
    assert_eq!(ann.post("/apps/shop/acm", json!({})).refused().0, 403);
}
