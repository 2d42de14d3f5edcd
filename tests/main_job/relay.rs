//! A way between the daemon and its broker that does what networks do: it delays, splits, stalls,
//! breaks in the middle of a packet, or swallows all that the daemon says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::PATIENCE;
use super::plant::Plant;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Delays, single bytes, stalls, and each link breaks after a while.
    Foul,
    /// What the daemon says is lost, and nobody is told.
    Silent,
}

pub(crate) struct Relay {
    address: SocketAddr,
    pub(crate) weather: watch::Sender<Weather>,
    /// Links that were broken by the weather.
    pub(crate) broken: Arc<AtomicU32>,
    swallowed: Arc<Mutex<Vec<u8>>>,
}

/// One direction of one link.
#[derive(Clone)]
struct Way {
    weather: watch::Receiver<Weather>,
    /// Of the daemon's words; `None` on the way to it.
    swallowed: Option<Arc<Mutex<Vec<u8>>>>,
    broken: Arc<AtomicU32>,
    random: u64,
    /// Bytes until a foul link breaks.
    life: usize,
}

impl Relay {
    /// The daemon that is started next goes through it; machines and listeners do not.
    pub(crate) async fn before(plant: &Plant, seed: u64) -> Self {
        let relay = Self::to(plant.broker, seed).await;
        let (broker, way) = (plant.broker.to_string(), relay.address.to_string());
        plant.rewrite(|text| text.replace(&broker, &way));
        relay
    }

    async fn to(broker: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (weather, now) = watch::channel(Weather::Fair);
        let swallowed = Arc::<Mutex<Vec<u8>>>::default();
        let broken = Arc::<AtomicU32>::default();
        let way = Way {
            weather: now,
            swallowed: None,
            broken: Arc::clone(&broken),
            random: seed,
            life: 0,
        };
        let keep = Arc::clone(&swallowed);
        tokio::spawn(async move {
            let mut way = way;
            while let Ok((daemon, _)) = listener.accept().await {
                let broker = TcpStream::connect(broker).await.expect("the broker");
                let (from_daemon, to_daemon) = daemon.into_split();
                let (from_broker, to_broker) = broker.into_split();
                let in_way = way.next(None);
                let out_way = way.next(Some(Arc::clone(&keep)));
                // Whichever direction ends takes the other with it.
                tokio::spawn(async move {
                    tokio::select! {
                        () = in_way.carry(from_broker, to_daemon) => {}
                        () = out_way.carry(from_daemon, to_broker) => {}
                    }
                });
            }
        });
        Self { address, weather, broken, swallowed }
    }

    pub(crate) async fn swallowed(&self, text: &str) {
        let there = || {
            let swallowed = self.swallowed.lock().expect("unpoisoned");
            swallowed.windows(text.len()).any(|part| part == text.as_bytes())
        };
        let seen = async {
            while !there() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("the daemon speaks");
    }
}

impl Way {
    fn next(&mut self, swallowed: Option<Arc<Mutex<Vec<u8>>>>) -> Self {
        let life = 500 + self.draw(6000);
        Self { swallowed, life, random: self.random, ..self.clone() }
    }

    /// 0 to `below` - 1.
    fn draw(&mut self, below: u64) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from((self.random >> 33) % below).expect("a small number")
    }

    async fn carry(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let mut said = &bytes[..count];
            let weather = *self.weather.borrow();
            if let (Weather::Silent, Some(swallowed)) = (weather, &self.swallowed) {
                swallowed.lock().expect("unpoisoned").extend(said);
                continue;
            }
            while !said.is_empty() {
                let part = if weather == Weather::Foul {
                    self.suffer(said.len()).await
                } else {
                    said.len()
                };
                if to.write_all(&said[..part]).await.is_err() {
                    return;
                }
                said = &said[part..];
                if weather == Weather::Foul && self.life == 0 {
                    self.broken.fetch_add(1, Relaxed);
                    return;
                }
            }
        }
    }

    /// How many of the bytes go on now, after what delay there is.
    async fn suffer(&mut self, count: usize) -> usize {
        let (part, pause) = match self.draw(20) {
            0 => (count, 60),
            1..4 => (1, 1),
            4..8 => (1 + self.draw(count as u64), 3),
            _ => (count, 0),
        };
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let part = part.min(self.life);
        self.life -= part;
        part
    }
}
