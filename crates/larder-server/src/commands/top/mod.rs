//! `larder top`: the essentials of a running server in the terminal, live.

mod draw;
mod endpoints;
mod feed;
mod figures;
mod once;
mod overview;
mod state;
mod terminal;

use std::io::{IsTerminal, stdin, stdout};
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;

use super::out;
use crate::client::{Client, ClientArgs, block_on};
use crate::failure::Failure;
use feed::{Feed, News};
use overview::Overview;
use state::{After, State};
use terminal::{Input, Screen};

/// Where the server tells it once.
const OVERVIEW: &str = "api/cache/overview";
/// Between the two looks of `--once`: rates are counted over a second.
const A_SECOND: Duration = Duration::from_millis(1_100);
/// How often it is drawn where nothing has come: the wait for the next attempt counts down.
const TICK: Duration = Duration::from_secs(1);

#[derive(Args, Clone, Debug)]
pub(crate) struct TopArgs {
    /// Print a plain table once; done anyway where standard output is no terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let to_people = stdin().is_terminal() && stdout().is_terminal();
    block_on(async {
        // A server that never was there, or does not talk to this person, is told before the screen changes.
        let first: Overview = client.get(OVERVIEW, &[]).await?;
        if args.once || !to_people {
            return out(&once::table(&twice(&client, first).await?));
        }
        watch(client, first).await
    })
}

/// An overview with rates: the server counts them between two looks.
async fn twice(client: &Client, first: Overview) -> Result<Overview, Failure> {
    if first.now.is_some() {
        return Ok(first);
    }
    tokio::time::sleep(A_SECOND).await;
    client.get(OVERVIEW, &[]).await
}

/// Draws until somebody says that it is enough.
async fn watch(client: Client, first: Overview) -> Result<(), Failure> {
    let mut state = State::new(client.url("").to_string(), first);
    let (news, mut heard) = mpsc::channel(4);
    let _feed = Feed::begin(client, news);
    let mut screen = Screen::begin()?;
    let mut input = Input::begin()?;
    let mut tick = tokio::time::interval(TICK);
    loop {
        screen.draw(|frame| draw::draw(frame, &state))?;
        tokio::select! {
            biased;
            event = input.next() => match event.map(|event| state.handle(&event)) {
                Some(After::GoOn) => {}
                Some(After::Quit) | None => return Ok(()),
            },
            news = heard.recv() => match news {
                Some(News::Overview(overview)) => state.take(*overview),
                Some(News::Lost { why, again }) => state.lose(why, again),
                Some(News::Refused(failure)) => return Err(failure),
                None => return Err(Failure::new("the connection to the server has ended")),
            },
            _ = tick.tick() => {}
        }
    }
}
