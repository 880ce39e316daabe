//! What a dyno sees and reaches, and what it is given.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;

use super::*;
use crate::world::eventually;

#[test]
fn nothing_of_the_host_or_the_platform_is_seen() {
    let platform = Platform::new();
    fs::write(platform.site.dir.join("secret"), "x").unwrap();
    let missing = format!(
        "/etc/shadow /etc/sudoers /etc/openruko /etc/ssl/private /boot /mnt /app/tmp /app/buildpacks /etc/ssh /run/sshd {}",
        platform.site.dir.display()
    );
    let absent = platform.says(&format!("for p in {missing}; do test ! -e $p || echo $p; done"));
    assert_eq!(absent, "");
    assert_eq!(
        platform.says("ls -A /opt/openruko /home /run /var/lib"),
        "/home:\n\n/opt/openruko:\nruko-dyno\n\n/run:\nlock\n\n/var/lib:\n"
    );
    let read_only = "/usr /etc /opt/openruko /sys/fs/cgroup/pids /";
    let written =
        platform.says(&format!("for p in {read_only}; do touch $p/probe 2>/dev/null && echo $p; done; true"));
    assert_eq!(written, "");
    let processes = platform.says("cat /proc/[0-9]*/comm | sort -u");
    assert!(
        processes.lines().all(|name| ["bash", "cat", "ruko-dyno", "sort"].contains(&name)),
        "{processes}"
    );
}

#[test]
fn a_dyno_has_no_privileges_and_can_get_none() {
    let platform = Platform::new();
    let status = platform.says("grep -E '^(Cap(Inh|Eff|Prm|Amb)|NoNewPrivs|Seccomp):' /proc/self/status");
    for expected in [
        "CapInh:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(expected), "{status}");
    }
    let tries = [
        "unshare --user true",
        "unshare --user --map-root-user --mount true",
        "mount -t tmpfs none /tmp",
        "mknod /tmp/device b 8 0",
        "mknod /app/device c 1 3",
        "su -c true",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    ];
    for command in tries {
        let (ended, output) = platform.runs("tries", line(&format!("{command} 2>&1"))).end();
        assert!(!matches!(ended, RunEvent::Ended { status: Some(0), .. }), "{command}: {output}");
    }
    let nodev = platform.says("awk '$5 == \"/app\" || $5 == \"/\" { print $5, $6 }' /proc/self/mountinfo");
    assert!(nodev.lines().count() == 2 && nodev.lines().all(|line| line.contains("nosuid,nodev")), "{nodev}");
}

#[test]
fn process_1_is_out_of_reach_of_the_command() {
    let platform = Platform::new();
    let script = r#"
import ctypes, os, signal
def refused(what):
    try: what()
    except (PermissionError, ProcessLookupError): return True
assert refused(lambda: os.kill(1, signal.SIGTERM))
assert refused(lambda: os.kill(1, signal.SIGKILL))
assert refused(lambda: os.kill(1, 0))
for name in ["environ", "mem", "maps", "fd/0", "fd/2", "cwd", "exe", "root"]:
    assert refused(lambda: os.open("/proc/1/" + name, os.O_RDONLY)), name
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, 1, 0, 0) == -1 and ctypes.get_errno() == 1
assert refused(lambda: open("/proc/1/oom_score_adj", "w").write("1000"))
print("out of reach")
"#;
    assert_eq!(platform.says(&format!("python3 - <<'END'\n{script}\nEND")), "out of reach\n");
}

#[test]
fn dynos_reach_neither_the_host_nor_each_other_and_the_host_reaches_them() {
    let platform = Platform::new();
    let site = &platform.site;
    let on_bridge = TcpListener::bind((site.gateway, 0)).unwrap();
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let serve = "exec python3 -m http.server 5000 --bind 0.0.0.0";
    let other = platform.runs("other", line(serve));
    crate::world::eventually(PATIENCE, "it is reached from the host", || {
        TcpStream::connect_timeout(&(other.address, 5000).into(), Duration::from_secs(1)).is_ok()
    });
    let own = "python3 -m http.server 5000 >/dev/null 2>&1 & until python3 -c 'import socket; \
        socket.create_connection((\"127.0.0.1\", 5000), 2)' 2>/dev/null; do sleep 0.1; done";
    let targets = [
        (site.gateway.to_string(), on_bridge.local_addr().unwrap().port()),
        (site.gateway.to_string(), everywhere.local_addr().unwrap().port()),
        (other.address.to_string(), 5000),
        ("169.254.169.254".to_owned(), 80),
        ("192.168.1.1".to_owned(), 80),
    ];
    let probes: String = targets
        .iter()
        .map(|(to, port)| format!("python3 -c 'import socket; socket.create_connection((\"{to}\", {port}), 2); print(\"{to}\")' 2>/dev/null;"))
        .collect();
    assert_eq!(platform.says(&format!("{own}; {probes} echo none")), "none\n");
}

#[test]
fn other_users_of_the_host_open_no_connections_to_dynos() {
    let platform = Platform::new();
    let dyno = platform.runs("private", line("exec python3 -m http.server 5000 --bind 0.0.0.0"));
    let connect = |user: u32| {
        let script = format!("import socket; socket.create_connection((\"{}\", 5000), 2)", dyno.address);
        let mut command = Command::new("python3");
        command
            .args(["-c", &script])
            .uid(user)
            .gid(user)
            .current_dir("/")
            .stderr(std::process::Stdio::null());
        command.status().unwrap().success()
    };
    crate::world::eventually(PATIENCE, "root reaches it", || connect(0));
    assert!(!connect(65534), "nobody does not");
    if let Some(git) = ruko_sys::process::user("git") {
        assert!(connect(git));
    }
}

#[test]
fn a_dyno_is_given_exactly_two_pipes_or_sockets() {
    let platform = Platform::new();
    let spec = platform.spec("refused", LIMITS);
    let (reader, writer) = io::pipe().unwrap();
    let (pipe, directory) = (reader.as_fd(), File::open("/").unwrap());
    let named = platform.site.dir.join("named");
    assert!(Command::new("mkfifo").arg(&named).status().unwrap().success());
    let named = File::options().read(true).write(true).open(named).unwrap();
    let refused = |files: &[BorrowedFd<'_>]| {
        let (message, try_again) = run(&platform.site, &spec, files).refusal();
        assert!(!try_again, "{message}");
        message
    };
    assert!(refused(&[]).contains("0 came"), "{}", refused(&[]));
    assert!(refused(&[pipe]).contains("1 came"));
    assert!(refused(&[pipe, pipe, pipe]).contains("more than 2"), "{}", refused(&[pipe, pipe, pipe]));
    assert!(refused(&[pipe; 8]).contains("more than 2"));
    assert!(refused(&[pipe, directory.as_fd()]).contains("pipe"), "{}", refused(&[pipe, directory.as_fd()]));
    assert!(refused(&[pipe, named.as_fd()]).contains("without a name"));
    let with_pipe = platform.site.run(&spec).refusal().0;
    assert!(with_pipe.contains("0 came"), "{with_pipe}");
    let login = platform.site.spec("refused", RunLimits { seconds: Some(60), ..LIMITS });
    let (message, _) = run(&platform.site, &login, &[pipe, writer.as_fd()]).refusal();
    assert!(message.contains("only a dyno"), "{message}");
    let mut over_socket = run(&platform.site, &login, &[]);
    assert!(matches!(over_socket.event(), RunEvent::Ready { .. }), "a socket does for a login as well");
    assert_eq!(over_socket.end(), 0);
}

#[test]
fn a_common_part_of_templates_that_others_can_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let platform = Platform::new();
    let common = platform.site.dir.join("templates/common.sh");
    fs::set_permissions(&common, fs::Permissions::from_mode(0o666)).unwrap();
    let (stdin, _input) = io::pipe().unwrap();
    let (_output, stdout) = io::pipe().unwrap();
    let spec = platform.spec("refused", LIMITS);
    let (message, _) = run(&platform.site, &spec, &[stdin.as_fd(), stdout.as_fd()]).refusal();
    assert!(message.contains("common.sh") && message.contains("only root"), "{message}");
}

#[test]
fn a_dyno_is_kept_apart_though_somebody_flushes_the_packet_filter() {
    let platform = Platform::new();
    let mut dyno = platform.runs("dyno", line("sleep 1000"));
    platform.site.remove_filter();
    eventually(PATIENCE, "the filter is back", || platform.site.has_filter());
    dyno.stop(0);
    dyno.run.event();
}
