//! A certificate for this machine, by an authority of the world's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ruko_core::config::TlsConfig;

/// What openssl needs to know (x509v3_config(5)): clients refuse an authority in the place of a server.
const CONFIG: &str = "[req]\ndistinguished_name = name\n[name]\n\
    [authority]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign\n\
    [server]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1, DNS:localhost\n";

/// The authority's certificate in such a directory.
pub(crate) fn authority(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// Makes the directory, the authority and a certificate for `localhost` and `127.0.0.1`, whose key is this
/// user's.
pub(crate) fn make(dir: &Path, user: &str) -> TlsConfig {
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("openssl.cnf"), CONFIG).unwrap();
    openssl(dir, "authority", ["ca.key", "ca.pem"], &[]);
    openssl(dir, "server", ["key.pem", "cert.pem"], &["-CA", "ca.pem", "-CAkey", "ca.key"]);
    let key = dir.join("key.pem");
    let owned = Command::new("chown").arg(user).arg(&key).status().unwrap();
    assert!(owned.success());
    TlsConfig { certificate: dir.join("cert.pem"), key }
}

/// openssl-req(1): a key that only its owner reads, and a certificate with these extensions.
fn openssl(dir: &Path, extensions: &str, [key, certificate]: [&str; 2], signed_by: &[&str]) {
    let made = Command::new("openssl")
        .current_dir(dir)
        .args(["req", "-x509", "-config", "openssl.cnf", "-extensions", extensions, "-days", "2"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"])
        .args(["-subj", &format!("/CN=openruko tests {extensions}")])
        .args(["-keyout", key, "-out", certificate])
        .args(signed_by)
        .output()
        .unwrap();
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
}
