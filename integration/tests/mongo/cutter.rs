//! A TCP proxy that loses answers: what was asked for has happened, and whoever asked isn't told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Which answers are lost, and their connection with them.
#[derive(Clone, Copy)]
pub(crate) enum Loses {
    /// That to every other request which holds these bytes, from the first on.
    AnswerToEveryOther(&'static [u8]),
    /// Each that holds these bytes.
    Answer(&'static [u8]),
    /// Not the answer but the request, if it holds these bytes: it never arrives.
    Request(&'static [u8]),
}

/// The proxy; it ends when dropped.
pub(crate) struct Cutter {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    lost: AtomicUsize,
}

impl Cutter {
    /// Leads to this port of the machine.
    pub(crate) async fn before(port: u16, loses: Loses) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        Ok(Self {
            port: listener.local_addr()?.port(),
            counts,
            task: tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let counts = Arc::clone(&shared);
                    tokio::spawn(async move { lead(client, port, loses, &counts).await });
                }
            }),
        })
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> usize {
        self.counts.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Copies both ways until an answer has to be lost or somebody leaves.
async fn lead(mut client: TcpStream, port: u16, loses: Loses, counts: &Counts) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut asked, mut answered) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    let mut doomed = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = asked.get(..read.ok().filter(|&length| length > 0)?)?;
                if let Loses::AnswerToEveryOther(sign) = loses
                    && holds(bytes, sign)
                {
                    doomed = counts.asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
                }
                if let Loses::Request(sign) = loses
                    && holds(bytes, sign)
                {
                    counts.lost.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
                server.write_all(bytes).await.ok()?;
            }
            read = server.read(&mut answered) => {
                let bytes = answered.get(..read.ok().filter(|&length| length > 0)?)?;
                if let Loses::Answer(sign) = loses {
                    doomed = holds(bytes, sign);
                }
                if doomed {
                    counts.lost.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
                client.write_all(bytes).await.ok()?;
            }
        }
    }
}

fn holds(bytes: &[u8], sign: &[u8]) -> bool {
    bytes.windows(sign.len()).any(|part| part == sign)
}
