//! A bot on serenity that writes the shard, seq and type of each event as a line of
//! JSON, and ends with its standard input: foreign-serenity API GATEWAY TOKEN COMPRESSION.
//!
//! serenity tells nobody the seq of an event. It does tell who traces it, in the span
//! in which a shard handles an event. A shard has a thread of its own here, on which
//! both this span and the event handler run, one event after the other.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt::{Debug, Write},
    io::Read,
    thread,
};

use serenity::{
    async_trait,
    client::{ClientBuilder, Context, RawEventHandler},
    http::HttpBuilder,
    model::{event::Event, gateway::GatewayIntents},
};
use tracing::{Subscriber, field::Field, level_filters::LevelFilter, span};
use tracing_subscriber::{Layer, layer, prelude::*};

thread_local! {
    /// The seqs of the events that the handler has not seen yet.
    static SEQS: RefCell<VecDeque<u64>> = const { RefCell::new(VecDeque::new()) };
}

struct Seqs;

impl<S: Subscriber> Layer<S> for Seqs {
    fn on_new_span(&self, attrs: &span::Attributes<'_>, _: &span::Id, _: layer::Context<'_, S>) {
        if attrs.metadata().name() == "handle_event" {
            attrs.record(&mut Visit);
        }
    }
}

struct Visit;

impl tracing::field::Visit for Visit {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut head = Head(String::new());
        let _ = write!(head, "{value:?}"); // it ends where the head is full
        if field.name() != "event" {
            return;
        }
        if let Some((seq, _)) = head
            .0
            .strip_prefix("Ok(Dispatch(")
            .and_then(|s| s.split_once(','))
        {
            SEQS.with_borrow_mut(|seqs| seqs.push_back(seq.parse().expect("a seq")));
        }
    }
}

/// The beginning of a text.
struct Head(String);

impl Write for Head {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.0.push_str(s);
        if self.0.len() > 64 {
            Err(std::fmt::Error)
        } else {
            Ok(())
        }
    }
}

struct Handler(u32);

#[async_trait]
impl RawEventHandler for Handler {
    async fn raw_event(&self, _: Context, event: Event) {
        let seq = SEQS
            .with_borrow_mut(VecDeque::pop_front)
            .expect("the span of this event");
        match event.name() {
            Some(name) => println!(r#"{{"shard":{},"seq":{seq},"type":"{name}"}}"#, self.0),
            None => eprintln!("unknown event: {event:?}"),
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (api, token) = (
        args[1].trim_end_matches("/api/v10").to_owned(),
        args[3].clone(),
    );
    tracing_subscriber::registry()
        .with(Seqs.with_filter(LevelFilter::INFO))
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .with_filter(LevelFilter::WARN),
        )
        .init();
    for shard in 0..2 {
        let (api, token) = (api.clone(), token.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let result = runtime.block_on(async {
                let http = HttpBuilder::new(token)
                    .proxy(api)
                    .ratelimiter_disabled(true)
                    .build();
                let mut client = ClientBuilder::new_with_http(http, GatewayIntents::all())
                    .raw_event_handler(Handler(shard))
                    .await?;
                client.start_shard(shard, 2).await
            });
            eprintln!("shard {shard} has ended: {result:?}");
            std::process::exit(1);
        });
    }
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("standard input");
    std::process::exit(0);
}
