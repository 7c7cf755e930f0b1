//! `examples/machines.rs`, as its users start it.

use std::process::{Command, Output};

use crate::server::Server;

fn machines(arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells this test of its package would make the inner cargo build dependencies anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST") || text.starts_with("CARGO_PKG") {
            cargo.env_remove(&name);
        }
    }
    cargo
        .args(["run", "--quiet", "--offline", "--example", "machines"])
        .args(["--features", "train,remote-server,remote-websocket", "--"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs")
}

#[test]
fn the_example_trains_over_two_hosts() {
    let servers = [Server::start(), Server::start()];
    let urls = servers
        .each_ref()
        .map(|server| format!("ws://{}", server.address));
    let output = machines(&["train", &urls[0], &urls[1]]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (_, farthest) = text.split_once("centers differ by at most ").expect(&text);
    let farthest: f64 = farthest.trim().parse().unwrap();
    assert!(farthest < 1e-5, "{text}");
}

#[test]
fn the_example_refuses_what_it_does_not_know() {
    for (arguments, message) in [
        (vec!["serve"], "usage: machines serve --port PORT"),
        (vec!["train"], "usage: machines serve --port PORT"),
        (
            vec!["serve", "--port", "70000"],
            "--port is 70000: it must be a number in 0..65536",
        ),
    ] {
        let output = machines(&arguments);
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(message), "{text}");
    }
}
