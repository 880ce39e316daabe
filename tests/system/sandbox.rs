//! What a build can see and reach: its own app, the stack, the internet, and nothing else.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use openruko_tests::World;

use crate::Test;
use crate::builds::repo_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("sandbox::build_sees_nothing_of_the_host", build_sees_nothing_of_the_host),
    ("sandbox::build_reaches_no_service_of_the_host", build_reaches_no_service_of_the_host),
    ("sandbox::build_reaches_no_other_container", build_reaches_no_other_container),
    (
        "sandbox::config_vars_reach_a_build_through_env_dir_only",
        config_vars_reach_a_build_through_env_dir_only,
    ),
];

/// What a build printed, without git's prefix.
fn built(world: &World, user: &str, app: &str, script: &str) -> String {
    let dev = world.developer(user);
    world.app(app, &dev);
    let seen = repo_that_builds_with(&dev, script).deploy(app);
    seen.lines()
        .map(|line| line.strip_prefix("remote: ").unwrap_or(line).trim_end())
        .collect::<Vec<_>>()
        .join("\n")
}

fn build_sees_nothing_of_the_host(world: &World) {
    let state = world.state().display().to_string();
    let script = format!(
        r#"
        check() {{ if eval "$2" >/dev/null 2>&1; then echo "LEAK: $1"; else echo "fine: $1"; fi; }}
        check "the host's shadow file" 'cat /etc/shadow'
        check "host keys" 'cat /etc/ssh/ssh_host_*_key'
        check "the platform's state" 'ls {state}'
        check "the platform's configuration" 'ls /etc/openruko'
        check "root's home" 'ls /root/.[a-z]*'
        check "state of the host" 'ls /var/lib/dpkg'
        check "writing the stack" 'touch /usr/bin/x'
        check "writing the hooks" 'touch /app/tmp/repo.git/hooks/x || echo x >/app/tmp/repo.git/hooks/pre-receive'
        check "writing the tools" 'touch /opt/openruko/x'
        check "writing the buildpacks" 'touch /app/buildpacks/x'
        check "becoming root" 'sudo -n true || su -c true'
        check "mounting" 'mount -t tmpfs x /tmp || unshare -rm mount -t tmpfs x /tmp'
        check "a kernel log" 'dmesg'
        check "devices" 'head -c1 /dev/vda || head -c1 /dev/mem || head -c1 /dev/loop0'
        check "other processes" '[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 60 ]'
        echo "uid: $(id -u)"
        grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status
        env | cut -d= -f1 | sort | tr '\n' ' '
        "#
    );
    let seen = built(world, "spy", "spying-app", &script);
    assert!(!seen.contains("LEAK"), "{seen}");
    assert_eq!(seen.matches("fine: ").count(), 15, "{seen}");
    assert!(seen.contains("uid: 1000"), "{seen}");
    assert!(seen.contains("CapEff:\t0000000000000000"), "{seen}");
    assert!(seen.contains("NoNewPrivs:\t1"), "{seen}");
    assert!(!seen.to_lowercase().contains("token"), "{seen}");
}

fn build_reaches_no_service_of_the_host(world: &World) {
    let config = world.config();
    let bridge = config.container().unwrap().subnet.host(1).unwrap();
    // A service on every address of the host, as careless admins have them.
    let service = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = service.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in service.incoming() {
            let _ = connection.and_then(|mut stream| stream.write_all(b"hello from the host\n"));
        }
    });
    let api = config.api().unwrap().listen.port();
    let ssh = world.ssh().port();
    let script = format!(
        r#"
        try() {{ timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2 && head -c1 <&3 >/dev/null" 2>/dev/null \
            && echo "LEAK: $1 $2" || echo "fine: $1 $2"; }}
        try {bridge} {port}; try {bridge} {api}; try {bridge} {ssh}; try {bridge} 22
        try 127.0.0.1 {api}; try 127.0.0.1 {port}
        try 169.254.169.254 80; try 10.0.0.1 80; try 192.168.0.1 80; try 172.16.0.1 80
        "#
    );
    let seen = built(world, "knut", "knocking-app", &script);
    assert!(!seen.contains("LEAK"), "{seen}");
    assert_eq!(seen.matches("fine: ").count(), 10, "{seen}");
}

fn build_reaches_no_other_container(world: &World) {
    let dev = world.developer("nell");
    world.app("neighbour-app", &dev);
    let neighbour = repo_that_builds_with(&dev, "echo BUILD-BEGUN; sleep 12");
    thread::scope(|scope| {
        scope.spawn(|| neighbour.deploy("neighbour-app"));
        openruko_tests::until("the neighbour is being built", std::time::Duration::from_secs(60), || {
            world.container_of("neighbour-app").is_some()
        });
        let net = world.config().container().unwrap().subnet;
        let prefix = net.network().to_string();
        let prefix = prefix.rsplit_once('.').unwrap().0.to_owned();
        // The sshd of any other container would say so at once. One's own address answers, of course.
        let script = format!(
            r#"
            me=$(hostname -I 2>/dev/null | cut -d' ' -f1)
            for i in $(seq 2 40); do
              [ "{prefix}.$i" = "$me" ] && continue
              (timeout 2 bash -c "exec 3<>/dev/tcp/{prefix}.$i/22 && head -c4 <&3" 2>/dev/null && echo " LEAK $i") &
            done
            wait
            echo "tried as $me"
            "#
        );
        let seen = built(world, "nils", "nosy-app", &script);
        assert!(world.container_of("neighbour-app").is_some(), "the neighbour was there all the time");
        assert!(seen.contains(&format!("tried as {prefix}.")), "{seen}");
        assert!(!seen.contains("LEAK"), "{seen}");
    });
}

fn config_vars_reach_a_build_through_env_dir_only(world: &World) {
    let dev = world.developer("vera");
    world.app("secret-app", &dev);
    let _ = world.admin(&["config", "set", "secret-app", "API_SECRET=s3cr3t-value", "PLAIN=two words"]);
    // A Node.js buildpack exports config vars to the app's own build script; what the platform started
    // above it may not have them.
    let script = r#"
        [ "$API_SECRET" = s3cr3t-value ] && echo "from ENV_DIR: yes"
        for p in /proc/[0-9]*; do
          tr '\0' '\n' <"$p/environ" 2>/dev/null | grep -q '^API_SECRET=' && tr '\0' ' ' <"$p/cmdline" && echo
        done 2>/dev/null >with-secret || true
        echo "of the platform's processes: $(grep -c ruko-slug with-secret)"
        echo "of all: $(grep -c . with-secret)"
    "#;
    let repo = repo_that_builds_with(&dev, script);
    let seen = repo.deploy("secret-app");
    assert!(seen.contains("from ENV_DIR: yes"), "{seen}");
    assert!(seen.contains("of the platform's processes: 0"), "{seen}");
    assert!(!seen.contains("of all: 0"), "the look into /proc sees something: {seen}");
    assert!(!seen.contains("s3cr3t-value"), "{seen}");
    let builds = world.admin_json(&["builds", "secret-app"]);
    let output = world.admin(&["output", builds[0]["push"].as_str().unwrap()]);
    assert!(!output.contains("s3cr3t-value"), "{output}");
}
