//! What needs root on the host, each step idempotent: system users, the sudoers line, sshd's host key and
//! configuration.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, chown};
use ruko_core::config::Config;
use ruko_core::{Fault, Hint};
use ruko_sys::{AtPath, PathError, Tool};

use super::install::Install;
use super::state::State;

/// A system account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    uid: Uid,
    gid: Gid,
}

impl Account {
    pub(super) const ROOT: Self = Self { uid: Uid::from_raw(0), gid: Gid::from_raw(0) };

    /// Makes it the owner of a file.
    pub(super) fn own(self, path: &Path) -> Result<(), PathError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(Into::into).at("change the owner of", path)
    }

    /// Lets a command run as this account.
    pub(super) fn become_in(self, command: &mut Command) {
        command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
    }
}

/// The accounts that openruko runs as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Users {
    /// Logs in with git.
    pub(super) git: Account,
    /// Runs the API.
    pub(super) openruko: Account,
}

/// Finds the accounts, making those that are missing.
pub(super) fn users() -> Result<Users, Fault> {
    Ok(Users { git: account("git")?, openruko: account("openruko")? })
}

fn account(name: &str) -> Result<Account, Fault> {
    if let Some(account) = existing(name)? {
        not_locked(name)?;
        return Ok(account);
    }
    // A home that exists, or sshd tells every client that it does not. `*` is no password that anyone
    // could type, and unlike `!` not a locked account, which sshd refuses even with a key (sshd(8),
    // "LOGIN PROCESS").
    Tool::new("useradd")
        .args(["--system", "--user-group", "--no-create-home", "--home-dir", "/"])
        .args(["--shell", "/bin/sh", "--password", "*", name])
        .run()
        .fault(format!("the system user `{name}` cannot be made"))?;
    existing(name)?
        .ok_or_else(|| Fault::refused(format!("the system user `{name}` was made but is not there")))
}

/// sshd refuses every key of a locked account, and tells the client nothing of it.
fn not_locked(name: &str) -> Result<(), Fault> {
    const SHADOW: &str = "/etc/shadow";
    let shadow = std::fs::read_to_string(SHADOW).at("read", Path::new(SHADOW))?;
    if !is_locked(&shadow, name) {
        return Ok(());
    }
    let hint = format!("`usermod --password '*' {name}` unlocks it without giving it a password");
    Err(Fault::refused(format!("the system user `{name}` is there and locked")).hint(hint))
}

/// Whether the password of an account begins with `!` (shadow(5)).
fn is_locked(shadow: &str, name: &str) -> bool {
    let password = shadow.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    password.is_some_and(|password| password.starts_with('!'))
}

fn existing(name: &str) -> Result<Option<Account>, Fault> {
    let user = User::from_name(name).fault(format!("the system user `{name}` cannot be looked up"))?;
    Ok(user.map(|user| Account { uid: user.uid, gid: user.gid }))
}

/// The one command that the git user may run as root, word for word.
pub(super) fn container_run(install: &Install, state: &State) -> [String; 4] {
    let text = |path: &Path| path.display().to_string();
    [text(&install.container()), "--config".to_owned(), text(&state.config()), "run".to_owned()]
}

/// Allows the git user that one command. The options let sudo become the command instead of watching it
/// (sudoers(5), use_pty, pam_session, pam_setcred).
pub(super) fn sudoers(install: &Install, state: &State) -> Result<(), Fault> {
    let command = container_run(install, state);
    let program = &command[0];
    let text = format!(
        "# Written by `openruko up`: the git user starts containers, and nothing else.\n\
         Defaults!{program} !requiretty, !use_pty, !pam_session, !pam_setcred\n\
         git ALL=(root) NOPASSWD: {}\n",
        command.join(" ")
    );
    let path = state.sudoers();
    if std::fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let draft = state.dir().join("sudoers.draft");
    ruko_sys::replace(&draft, 0o440, text.as_bytes())?;
    let checked = Tool::new("visudo").args(["-c", "-q", "-f"]).arg(&draft).run();
    let _ = std::fs::remove_file(&draft);
    checked.fault("sudo does not accept the line for ruko-container")?;
    ruko_sys::replace(&path, 0o440, text.as_bytes())?;
    Ok(())
}

/// Takes the line back.
pub(super) fn remove_sudoers(state: &State) -> Result<(), Fault> {
    let path = state.sudoers();
    if path.exists() {
        std::fs::remove_file(&path).at("remove", &path)?;
    }
    Ok(())
}

/// Makes a host key of our own: the system's is never used.
pub(super) fn host_key(state: &State) -> Result<(), Fault> {
    let path = state.host_key();
    if path.exists() {
        return Ok(());
    }
    Tool::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "openruko", "-f"])
        .arg(&path)
        .run()
        .fault("a host key cannot be made")
}

/// As a client shows it at its first connection.
pub(super) fn host_key_fingerprint(state: &State) -> Result<String, Fault> {
    let public = state.host_key().with_extension("pub");
    let line =
        Tool::new("ssh-keygen").arg("-lf").arg(&public).output().fault("the host key cannot be read")?;
    let line = String::from_utf8_lossy(&line);
    Ok(line.split_whitespace().nth(1).unwrap_or_default().to_owned())
}

/// Writes sshd's configuration: one user, keys from the API, one forced command, nothing forwarded.
pub(super) fn sshd_config(install: &Install, state: &State, config: &Config) -> Result<(), Fault> {
    let listen = config.up()?.ssh_listen;
    let text = format!(
        "# Written by `openruko up` at every start.\n\
         ListenAddress {listen}\n\
         HostKey {host_key}\n\
         PidFile none\n\
         AllowUsers git\n\
         AuthenticationMethods publickey\n\
         AuthorizedKeysFile none\n\
         AuthorizedKeysCommand {serve} --config {config} keys %f\n\
         AuthorizedKeysCommandUser git\n\
         AcceptEnv GIT_PROTOCOL\n\
         DisableForwarding yes\n\
         PermitTTY no\n\
         PermitUserRC no\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         UsePAM no\n\
         UseDNS no\n\
         LoginGraceTime 30\n\
         MaxStartups 100:30:500\n\
         MaxSessions 1\n\
         UnusedConnectionTimeout 30\n\
         ClientAliveInterval 15\n\
         ClientAliveCountMax 8\n",
        host_key = state.host_key().display(),
        serve = install.serve().display(),
        config = state.config().display(),
    );
    ruko_sys::replace(&state.sshd_config(), 0o644, text.as_bytes())?;
    // sshd needs it for privilege separation, and its package makes it at boot only (sshd(8), FILES).
    std::fs::create_dir_all("/run/sshd").at("create", Path::new("/run/sshd"))?;
    let mut check = Tool::new("/usr/sbin/sshd").arg("-t").arg("-f").arg(state.sshd_config());
    check = check.env("HOME", "/");
    check.run().fault("sshd does not accept its configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_locked_is_known() {
        let shadow = "root:*:1::::::\ngit:!:20787::::::\ngitty:*:1::::::\nopenruko:*:1::::::\n";
        assert!(is_locked(shadow, "git"));
        assert!(
            !is_locked(shadow, "openruko") && !is_locked(shadow, "gitty") && !is_locked(shadow, "nobody")
        );
    }
}
