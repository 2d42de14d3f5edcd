//! `andon top`: the daemon in a terminal, drawn again each second until `q`.
//!
//! Where standard input or output is no terminal, one picture is printed as plain text.

mod picture;

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context;
use crossterm::terminal;
use tokio::time::Instant;

use self::picture::{Look, Tone, lines};
use super::client::Daemon;

/// Without a terminal.
const WIDTH: usize = 120;
const HEIGHT: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only the tags of these assets; `*` stands for any run of characters.
    #[arg(default_value = "*")]
    asset: String,
    /// Between two pictures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    every: Duration,
    #[command(flatten)]
    daemon: Daemon,
}

pub(super) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let first = look(arguments)?;
    if arguments.daemon.json {
        println!("{}", first.to_json());
        return Ok(ExitCode::SUCCESS);
    }
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        std::thread::sleep(arguments.every);
        for (_, line) in lines(&look(arguments)?, Some(&first), (WIDTH, HEIGHT)) {
            println!("{}", line.trim_end());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::open()?;
    let keys = keys();
    let (mut before, mut now) = (None, Ok(first));
    loop {
        match &now {
            Ok(now) => screen.draw(&lines(now, before.as_ref(), size()))?,
            Err(error) => screen.draw(&[(Tone::Bad, format!("{error:#}"))])?,
        }
        match keys.recv_timeout(arguments.every) {
            Ok(b'q' | b'Q' | 3) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                before = now.ok();
                now = look(arguments);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn look(arguments: &Arguments) -> anyhow::Result<Look> {
    let daemon = &arguments.daemon;
    Ok(Look {
        at: Instant::now(),
        status: daemon.get("/api/v1/status", &[])?,
        alerts: daemon.get("/api/v1/alerts", &[])?,
        tags: daemon.get("/api/v1/tags", &[("asset", &arguments.asset)])?,
    })
}

fn size() -> (usize, usize) {
    terminal::size().map_or((80, 24), |(width, height)| (width.into(), height.into()))
}

/// The keys that are pressed. The thread ends with the process.
fn keys() -> Receiver<u8> {
    let (pressed, keys) = channel();
    std::thread::spawn(move || {
        for key in io::stdin().lock().bytes().map_while(Result::ok) {
            if pressed.send(key).is_err() {
                return;
            }
        }
    });
    keys
}

/// The terminal's other page; what was there before is shown again at the end.
struct Screen;

impl Screen {
    fn open() -> anyhow::Result<Self> {
        terminal::enable_raw_mode().context("the terminal cannot be read key by key")?;
        let screen = Self;
        screen.write("\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    fn draw(&self, lines: &[(Tone, String)]) -> io::Result<()> {
        let mut page = String::from("\x1b[H");
        for (at, (tone, line)) in lines.iter().enumerate() {
            if at > 0 {
                page.push_str("\r\n");
            }
            let code = match tone {
                Tone::Plain => "",
                Tone::Head => "\x1b[1m",
                Tone::Bad => "\x1b[1;31m",
                Tone::Quiet => "\x1b[2m",
            };
            page.push_str(&format!("{code}{line}\x1b[0m\x1b[K"));
        }
        page.push_str("\x1b[J");
        self.write(&page)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let shown = self.write("\x1b[?25h\x1b[?1049l");
        let cooked = terminal::disable_raw_mode();
        if shown.is_err() || cooked.is_err() {
            eprintln!("the terminal could not be put back; `reset` does it");
        }
    }
}
