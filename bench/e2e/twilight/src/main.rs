//! A bot on twilight that writes the shard, seq and type of each event as a line of
//! JSON, and ends with its standard input: foreign-twilight API GATEWAY TOKEN COMPRESSION.
//! Its compression is chosen when it is built. FOREIGN_QUEUE names the host and port of a
//! service that gives the turns to identify.

use futures_util::StreamExt;
use serde::Deserialize;
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
};
use twilight_gateway::{
    ConfigBuilder, EventTypeFlags, Intents, Message, Shard, ShardId, parse,
    queue::{InMemoryQueue, Queue},
};

/// Where the turns come from.
#[derive(Clone, Debug)]
enum Turns {
    Own(InMemoryQueue),
    Service(String),
}

impl Queue for Turns {
    fn enqueue(&self, id: u32) -> oneshot::Receiver<()> {
        let address = match self {
            Turns::Own(queue) => return queue.enqueue(id),
            Turns::Service(address) => address.clone(),
        };
        let (mut tx, rx) = oneshot::channel();
        tokio::spawn(async move {
            tokio::select! {
                () = tx.closed() => {}
                answer = ask(&address, id) => match answer {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => _ = tx.send(()),
                    other => eprintln!("shard {id}: no turn: {other:?}"),
                },
            }
        });
        rx
    }
}

/// Asks the service for a turn, and returns its answer.
async fn ask(address: &str, id: u32) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /?shard={id} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What an event is besides its data.
#[derive(Deserialize)]
struct Envelope {
    op: u8,
    s: Option<u64>,
    t: Option<String>,
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider");
    let mut args = std::env::args().skip(2);
    let gateway = args.next().expect("GATEWAY");
    let token = args.next().expect("TOKEN");
    let config = ConfigBuilder::new(token, Intents::all())
        .proxy_url(gateway)
        .queue(match std::env::var("FOREIGN_QUEUE") {
            Ok(address) => Turns::Service(address),
            Err(_) => Turns::Own(InMemoryQueue::default()),
        })
        .build();
    let mut shards = JoinSet::new();
    for id in 0..2 {
        shards.spawn(run(Shard::with_config(ShardId::new(id, 2), config.clone())));
    }
    let (mut stdin, mut nothing) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        _ = shards.join_next() => {
            eprintln!("a shard has ended");
            std::process::exit(1);
        }
        _ = stdin.read_to_end(&mut nothing) => std::process::exit(0),
    }
}

/// Reads a shard's events, and has each of them parsed.
async fn run(mut shard: Shard<Turns>) {
    while let Some(message) = shard.next().await {
        let text = match message {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(_)) => continue,
            Err(error) => {
                eprintln!(
                    "shard {}: {error}: {:?}",
                    shard.id().number(),
                    std::error::Error::source(&error)
                );
                continue;
            }
        };
        let envelope: Envelope = match serde_json::from_str(&text) {
            Ok(envelope) => envelope,
            Err(error) => {
                eprintln!("envelope: deserializing: {error}");
                continue;
            }
        };
        if let Err(error) = parse(text, EventTypeFlags::all()) {
            eprintln!(
                "{:?}: {error}: {:?}",
                envelope.t,
                std::error::Error::source(&error)
            );
        }
        if let (0, Some(seq), Some(kind)) = (envelope.op, envelope.s, envelope.t) {
            println!(
                r#"{{"shard":{},"seq":{seq},"type":"{kind}"}}"#,
                shard.id().number()
            );
        }
    }
}
