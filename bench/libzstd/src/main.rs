//! libzstd at the end of a pipe, for tests and benchmarks that are written in Go:
//!
//!     libzstd record         compresses with Discord's parameters
//!     libzstd decode         decodes arbitrary bytes, for fuzzing
//!     libzstd measure FILE   decodes a recorded stream
//!
//! Lengths are 4 bytes, little endian.

use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["record"] => record(),
        ["decode"] => decode(),
        ["measure", file] => measure(file),
        _ => Err(io::Error::other("record, decode or measure FILE?")),
    };
    if let Err(e) = done {
        eprintln!("libzstd: {e}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn zstd(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

/// Reads a length and as many bytes; None at the end.
fn read_text(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut n = [0; 4];
    match input.read_exact(&mut n) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut text = vec![0; u32::from_le_bytes(n) as usize];
    input.read_exact(&mut text)?;
    Ok(Some(text))
}

fn write_text(output: &mut impl Write, text: &[u8]) -> io::Result<()> {
    output.write_all(&(text.len() as u32).to_le_bytes())?;
    output.write_all(text)
}

/// Answers each text with what it is compressed to. A text of no bytes begins a new frame, and
/// has no answer.
fn record() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    let mut c = CCtx::create();
    for p in [
        CParameter::CompressionLevel(6),
        CParameter::WindowLog(18),
        CParameter::ChainLog(16),
        CParameter::HashLog(16),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
    ] {
        c.set_parameter(p).map_err(zstd)?;
    }
    while let Some(text) = read_text(&mut input)? {
        if text.is_empty() {
            c.reset(ResetDirective::SessionOnly).map_err(zstd)?;
            continue;
        }
        let mut out = vec![0; zstd_safe::compress_bound(text.len()) + 64];
        let (mut src, mut dst) = (InBuffer::around(&text), OutBuffer::around(&mut out[..]));
        while c.compress_stream2(&mut dst, &mut src, ZSTD_EndDirective::ZSTD_e_flush).map_err(zstd)? > 0 {}
        let n = dst.pos();
        write_text(&mut output, &out[..n])?;
    }
    output.flush()
}

/// Answers each text with whether it is right as far as it goes (1 or 0), how much of it was read, up
/// to the end of the first frame, and what that decodes to. A window has 1 MiB at most.
fn decode() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    let mut out = vec![0; (4 << 20) + (128 << 10)];
    while let Some(text) = read_text(&mut input)? {
        let mut d = DCtx::create();
        d.set_parameter(DParameter::WindowLogMax(20)).map_err(zstd)?;
        let (mut src, mut dst) = (InBuffer::around(&text), OutBuffer::around(&mut out[..]));
        let mut right = 1;
        loop {
            let before = (src.pos(), dst.pos());
            match d.decompress_stream(&mut dst, &mut src) {
                Err(_) => right = 0,
                Ok(left) if left > 0 && (src.pos(), dst.pos()) != before => continue,
                Ok(_) => {}
            }
            break;
        }
        let (read, n) = (src.pos(), dst.pos());
        output.write_all(&[right])?;
        output.write_all(&(read as u32).to_le_bytes())?;
        write_text(&mut output, &out[..n])?;
        output.flush()?;
    }
    Ok(())
}

/// Prints how many nanoseconds a message of a recorded stream takes to decode, the second time. A
/// message is its length, that of what it decodes to, 8 bytes of that one's hash, and itself.
fn measure(file: &str) -> io::Result<()> {
    let recorded = std::fs::read(file)?;
    let mut messages = Vec::new();
    let mut rest = &recorded[..];
    while rest.len() >= 16 {
        let n = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let plain = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        messages.push((&rest[16..16 + n], plain));
        rest = &rest[16 + n..];
    }
    let mut out = vec![0; 4 << 20];
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let mut d = DCtx::create();
        let start = Instant::now();
        for &(message, plain) in &messages {
            let (mut src, mut dst) = (InBuffer::around(message), OutBuffer::around(&mut out[..]));
            while src.pos() < message.len() {
                d.decompress_stream(&mut dst, &mut src).map_err(zstd)?;
            }
            if dst.pos() != plain {
                return Err(io::Error::other(format!("{} bytes instead of {plain}", dst.pos())));
            }
        }
        took = start.elapsed();
    }
    println!("{:.1}", took.as_nanos() as f64 / messages.len() as f64);
    Ok(())
}
