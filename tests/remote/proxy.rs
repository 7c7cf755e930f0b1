//! A stretch of network between a client and a server, which delays all bytes and counts round trips.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long bytes take in each direction: longer than a loaded machine takes from one byte to the next.
pub const DELAY: Duration = Duration::from_millis(50);

pub struct Proxy {
    pub address: SocketAddr,
    traffic: Arc<Mutex<Traffic>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// How often the server answered after the client had sent something: what the client may have waited for.
    pub round_trips: usize,
    pub bytes_up: usize,
    pub bytes_down: usize,
    client_was_last: bool,
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

impl Proxy {
    /// A proxy before the server at an address.
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let traffic = Arc::default();
        let counted = Arc::clone(&traffic);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                let (to_client, to_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                carry(client, to_server, Direction::Up, Arc::clone(&counted));
                carry(server, to_client, Direction::Down, Arc::clone(&counted));
            }
        });
        Self { address, traffic }
    }

    /// What has passed since the last call.
    pub fn take(&self) -> Traffic {
        std::mem::take(&mut self.traffic.lock().unwrap())
    }
}

/// Carries the bytes of one direction until its sender closes.
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    direction: Direction,
    traffic: Arc<Mutex<Traffic>>,
) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    to.set_nodelay(true).unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            traffic.lock().unwrap().note(direction, length);
            let arrival = Instant::now() + DELAY;
            if sender.send((arrival, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (arrival, bytes) in receiver {
            thread::sleep(arrival.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

impl Traffic {
    fn note(&mut self, direction: Direction, length: usize) {
        match direction {
            Direction::Up => {
                self.bytes_up += length;
                self.client_was_last = true;
            }
            Direction::Down => {
                self.bytes_down += length;
                self.round_trips += usize::from(self.client_was_last);
                self.client_was_last = false;
            }
        }
    }
}
