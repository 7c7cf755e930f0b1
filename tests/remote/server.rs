//! A process that hosts a device for a test.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use burn::remote::RemoteHost;
use burn::server::{RemoteServer, WebSocketTransport};
use burn::tensor::Device;

const MARK: &str = "BURN_CENTER_LOSS_TEST_SERVER";

/// A server of a flex device, in a process of its own: a process that serves reads from its own devices in
/// another way, and a test can end it at any moment.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server::serve", "--ignored", "--nocapture"])
            .env(MARK, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the server ended");
            if let Some((_, address)) = line.split_once(MARK) {
                break address.trim().parse().unwrap();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { process, address }
    }

    /// Its device, without autodiff.
    pub fn device(&self) -> Device {
        device(self.address)
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The device that is hosted at an address, without autodiff.
pub fn device(address: SocketAddr) -> Device {
    let host = RemoteHost::websocket(&format!("ws://{address}"));
    Device::remote_options(&host).init().unwrap()
}

#[test]
#[ignore = "the process that other tests start"]
fn serve() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{MARK} {}", listener.local_addr().unwrap());
    // The test's end of the pipe closes with its process, whichever way that ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    RemoteServer::new([Device::flex()])
        .serve(WebSocketTransport::from_listener(listener))
        .unwrap();
}
