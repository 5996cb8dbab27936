//! A bot on twilight that writes the shard, seq and type of each event as a line of
//! JSON, and ends with its standard input: foreign-twilight API GATEWAY TOKEN COMPRESSION.
//! Its compression is chosen when it is built.

use futures_util::StreamExt;
use serde::Deserialize;
use tokio::{io::AsyncReadExt, task::JoinSet};
use twilight_gateway::{ConfigBuilder, EventTypeFlags, Intents, Message, Shard, ShardId, parse};

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
async fn run(mut shard: Shard) {
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
