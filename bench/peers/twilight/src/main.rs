//! Counts events with twilight and keeps the protocol of the load harness, which
//! "gateway-bench help run" has. As `twilight-parse` it parses each event as well, of
//! whatever type, as `next_event` does for a bot. Whether the stream is compressed
//! is chosen when it is built, by the feature `zstd`.

use futures_util::StreamExt;
use std::{
    env,
    error::Error,
    io::{self, Write},
    process,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use twilight_gateway::{
    ConfigBuilder, Event, EventTypeFlags, Intents, Message, Session, Shard, ShardId, parse,
    queue::InMemoryQueue,
};
use twilight_model::gateway::event::GatewayEventDeserializer;

/// What all shards count in.
struct Counter {
    sample: u64,
    parses: bool,
    events: AtomicU64,
    unparsed: AtomicU64,
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider");
    let counter = Arc::new(Counter {
        sample: number("BENCH_SAMPLE", 1),
        parses: env::args()
            .nth(1)
            .is_some_and(|name| name == "twilight-parse"),
        events: AtomicU64::new(0),
        unparsed: AtomicU64::new(0),
    });
    write(&format!(
        r#"{{"peer":"twilight {}{}","compression":"{}"}}"#,
        env!("CARGO_PKG_VERSION"),
        if counter.parses { ", parsed" } else { "" },
        if cfg!(feature = "zstd") {
            "zstd-stream"
        } else {
            "none"
        },
    ));

    let token = text("DISCORD_TOKEN");
    let client = twilight_http::Client::builder()
        .token(token.clone())
        .proxy(
            text("DISCORD_API_HOST"),
            text("DISCORD_API_PROTOCOL") == "http",
        )
        .build();
    let bot = match client.gateway().authed().await {
        Ok(answer) => answer.model().await.unwrap_or_else(|error| fail(error)),
        Err(error) => fail(error),
    };
    drop(client);
    let limit = bot.session_start_limit;
    let config = ConfigBuilder::new(
        token,
        Intents::from_bits_retain(number("DISCORD_INTENTS", 0)),
    )
    .proxy_url(bot.url)
    .queue(InMemoryQueue::new(
        limit.max_concurrency,
        limit.remaining,
        Duration::from_millis(limit.reset_after),
        limit.total,
    ))
    .build();
    let count = number("DISCORD_SHARD_COUNT", 1);
    for id in 0..count {
        let shard = Shard::with_config(ShardId::new(id, count), config.clone());
        tokio::spawn(run(shard, counter.clone()));
    }

    let mut stop = signal(SignalKind::terminate()).unwrap_or_else(|error| fail(error));
    stop.recv().await;
    write(&format!(
        r#"{{"count":{},"unparsed":{}}}"#,
        counter.events.load(Ordering::Relaxed),
        counter.unparsed.load(Ordering::Relaxed)
    ));
    process::exit(0);
}

/// Counts a shard's events. The seq is the one that twilight keeps for a resume.
async fn run(mut shard: Shard, counter: Arc<Counter>) {
    let (id, mut last) = (shard.id().number(), 0);
    while let Some(message) = shard.next().await {
        let text = match message {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(_)) => continue,
            Err(error) => {
                eprintln!("shard {id}: {error}");
                continue;
            }
        };
        let seq = shard.session().map_or(0, Session::sequence);
        if seq == last {
            continue; // no event: what keeps the connection
        }
        last = seq;
        counter.events.fetch_add(1, Ordering::Relaxed);
        let name = if seq % counter.sample == 0 {
            GatewayEventDeserializer::from_json(&text)
                .and_then(|event| event.event_type().map(String::from))
        } else {
            None
        };
        if counter.parses {
            match parse(text, EventTypeFlags::all()) {
                Ok(Some(event)) => drop(std::hint::black_box(Event::from(event))),
                Ok(None) => _ = counter.unparsed.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    if counter.unparsed.fetch_add(1, Ordering::Relaxed) == 0 {
                        eprintln!("shard {id}: {error}: {:?}", error.source());
                    }
                }
            }
        }
        if let Some(name) = name {
            write(&format!(r#"{{"event":"{name}","shard":{id},"seq":{seq}}}"#));
        }
    }
    eprintln!("shard {id} has ended");
    process::exit(1);
}

/// Writes a line to standard output at once.
fn write(line: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        process::exit(1); // the harness has gone
    }
}

/// Returns what the environment has.
fn text(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Returns the number that the environment has.
fn number<T: FromStr>(name: &str, absent: T) -> T {
    match text(name).as_str() {
        "" => absent,
        text => match text.parse() {
            Ok(number) => number,
            Err(_) => fail(format!("{name} is {text:?}, not a number")),
        },
    }
}

/// Ends the process with an error.
fn fail(error: impl Into<Box<dyn Error>>) -> ! {
    let error = error.into();
    eprintln!("{error}: {:?}", error.source());
    process::exit(1);
}
