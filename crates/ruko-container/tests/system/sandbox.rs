//! What a build sees and reaches.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::world::{LIMITS, PATIENCE, Site, eventually, stderr, stdout};

#[test]
fn nothing_of_the_host_is_seen_beyond_its_programs() {
    let site = Site::new();
    let secret = site.dir.join("secret");
    fs::write(&secret, "x").unwrap();
    let container = site.start("seen", LIMITS);
    for path in
        ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/openruko", "/etc/ssl/private", "/boot", "/mnt"]
    {
        container.fails(&format!("test -e {path}"));
    }
    container.fails(&format!("test -e {}", site.dir.display()));
    assert_eq!(
        container.says("ls /var/lib /home /run; ls /etc/ssh"),
        "/home:\n\n/run:\nlock\nsshd\n\n/var/lib:\n\
        authorized_keys\nhost_key\nsshd_config\n"
    );
    container.fails("cat /etc/ssh/host_key");
    container.fails("ls /root");
    for path in [
        "/usr",
        "/usr/local",
        "/etc/ssl/certs",
        "/app/tmp/repo.git/hooks",
        "/app/buildpacks",
        "/opt/openruko",
    ] {
        container.fails(&format!("touch {path}/probe"));
    }
    container.fails("rm -rf /app/tmp/repo.git/hooks/pre-receive");
    container.says("touch /app/a /tmp/a /app/tmp/cache/a /app/tmp/repo.git/a /app/tmp/ssh/a");
    let processes = container.says("cat /proc/[0-9]*/comm | sort -u");
    assert!(processes.contains("sshd\n"), "{processes}");
    let expected = |name: &str| ["cat", "sh", "sort"].contains(&name) || name.starts_with("sshd");
    assert!(processes.lines().all(expected), "{processes}");
}

#[test]
fn a_build_has_no_privileges_and_can_get_none() {
    let site = Site::new();
    let container = site.start("weak", LIMITS);
    let status = container.says("grep -E '^(Cap(Eff|Prm|Amb)|NoNewPrivs|Seccomp):' /proc/self/status");
    for expected in
        ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
    {
        assert!(status.contains(expected), "{status}");
    }
    container.fails("unshare --user true");
    container.fails("unshare --user --map-root-user --mount true");
    container.fails("mount -t tmpfs none /tmp");
    container.fails("mknod /tmp/device b 8 0");
    container.fails("python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'");
    let families = "import errno, socket\n\
        def refused(family):\n try: socket.socket(family, socket.SOCK_STREAM).close()\n \
        except OSError as e: return e.errno == errno.EAFNOSUPPORT\n\
        print(*[family for family in range(64) if not refused(family)])";
    assert_eq!(container.says(&format!("python3 -c '{families}'")), "1 2 10 16\n");
    let map = container.says("cat /proc/self/uid_map");
    let fields: Vec<u64> = map.split_whitespace().map(|field| field.parse().unwrap()).collect();
    assert!(fields[0] == 0 && fields[1] >= 65536 && fields[2] == 65536, "{map}");
    assert_eq!(container.says("ulimit -c").trim(), "0");
}

/// The gate of 32-bit programs has one more system call for sockets, with its arguments behind a pointer.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_second_way_to_sockets_of_32_bit_programs_is_closed() {
    const SCRIPT: &str = r#"
import ctypes, struct
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
page = libc.mmap(None, 4096, 7, 0x62, -1, 0)  # executable, private, anonymous, below 2 GB
def call(number, *args):
    registers = zip((b"\xb8", b"\xbb", b"\xb9", b"\xba"), (number, *args))
    code = b"\x53" + b"".join(op + struct.pack("<I", arg) for op, arg in registers) + b"\xcd\x80\x5b\xc3"
    ctypes.memmove(page, code, len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()
AF_VSOCK, SOCK_STREAM = 40, 1
ctypes.memmove(page + 2048, struct.pack("<III", AF_VSOCK, SOCK_STREAM, 0), 12)
print(call(20) > 0, call(102, 1, page + 2048, 0) < 0)
"#;
    let site = Site::new();
    let container = site.start("narrow", LIMITS);
    let output = container.shell(&format!("python3 - <<'END'\n{SCRIPT}\nEND"));
    // A kernel without 32-bit programs ends the script by a signal.
    let closed = !output.status.success() || stdout(&output) == "True True\n";
    assert!(closed, "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn containers_reach_neither_the_host_nor_each_other_nor_metadata() {
    let site = Site::new();
    let on_bridge = TcpListener::bind((site.gateway, 0)).unwrap();
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let one = site.start("one", LIMITS);
    let two = site.start("two", LIMITS);
    let connect = |to: &str, port: u16| {
        one.shell(&format!(
            "python3 -c 'import socket; socket.create_connection((\"{to}\", {port}), 2)' 2>&1"
        ))
    };
    assert!(connect("127.0.0.1", 22).status.success(), "the probe itself works");
    let gateway = site.gateway.to_string();
    let targets = [
        (gateway.clone(), on_bridge.local_addr().unwrap().port()),
        (gateway, everywhere.local_addr().unwrap().port()),
        (two.address.to_string(), 22),
        ("169.254.169.254".to_owned(), 80),
        ("192.168.1.1".to_owned(), 80),
    ];
    for (to, port) in targets {
        let output = connect(&to, port);
        assert!(!output.status.success(), "{to}:{port} was reached");
        let why = stdout(&output);
        assert!(
            why.contains("timed out") || why.contains("unreachable") || why.contains("No route"),
            "{to}: {why}"
        );
    }
    // From the host both are reached, so it is not that nothing works.
    for container in [&one, &two] {
        TcpStream::connect_timeout(&(container.address, 22).into(), PATIENCE).unwrap();
    }
}

#[test]
fn files_of_the_configuration_are_seen_read_only() {
    let site = Site::with(
        "slots = 240\n",
        "[build.files]\n\"/app/.npmrc\" = \"/usr/share/common-licenses/BSD\"\n\
         \"/etc/pip.conf\" = \"/usr/share/common-licenses/Artistic\"\n",
    );
    let container = site.start("files", LIMITS);
    container.says("cmp /app/.npmrc /usr/share/common-licenses/BSD");
    container.says("cmp /etc/pip.conf /usr/share/common-licenses/Artistic");
    container.fails("echo x >>/app/.npmrc");
}

#[test]
fn who_flushes_the_packet_filter_sets_no_container_free() {
    let site = Site::new();
    let running = site.start("running", LIMITS);
    site.remove_filter();
    eventually(PATIENCE, "the filter is back", || site.has_filter());
    running.says("true");
    drop(running);
    site.remove_filter();
    let fresh = site.start("fresh", LIMITS);
    assert!(site.has_filter());
    fresh.says("true");
}

/// A network on which nobody answers. Its address is for documentation (RFC 5737).
struct Nowhere {
    device: String,
    address: String,
}

impl Nowhere {
    fn of(site: &Site) -> Self {
        let device = site.bridge.replace("rk-", "rkn");
        let address = format!("198.51.100.{}", site.gateway.octets()[2]);
        let nowhere = Self { device, address };
        ip(&["link", "add", &nowhere.device, "type", "bridge"]);
        ip(&["link", "set", &nowhere.device, "up"]);
        ip(&["route", "add", &nowhere.address, "dev", &nowhere.device]);
        nowhere
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.device]);
    }
}

fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
}

#[test]
fn connections_to_elsewhere_are_bounded_and_forgotten_with_their_container() {
    let site = Site::with("slots = 240\nconnections = 3\n", "");
    let nowhere = Nowhere::of(&site);
    let container = site.start("many", LIMITS);
    container.says(&format!(
        "python3 -c 'import socket\nfor port in range(1, 9):\n s = socket.socket()\n s.setblocking(False)\n \
         s.connect_ex((\"{}\", port))'",
        nowhere.address
    ));
    let address = container.address.to_string();
    let known = || {
        let known = Command::new("conntrack").args(["-L", "-s", &address]).output().unwrap();
        stdout(&known).lines().count()
    };
    assert_eq!(known(), 3);
    drop(container);
    eventually(PATIENCE, "the kernel remembers none", || known() == 0);
}
