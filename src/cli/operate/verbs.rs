//! What each operators' command asks and prints.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::time::timeout;

use crate::admin::model::{
    Ask, Done, Dry, Event, Explained, Given, Listed, Node, Plan, Shard, Status, Where,
};
use crate::cli::config::Output;
use crate::cli::exit::Exit;
use crate::cli::operate::args::{At, By, Tried, Verb, Who};
use crate::cli::operate::client::Client;
use crate::cli::operate::print;
use crate::cli::operate::progress::{Progress, Step};
use crate::cli::table::one_line;
use crate::load;

/// Runs a command.
pub(crate) fn run(verb: Verb) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no thread could be started")?;
    runtime.block_on(dispatch(verb))?;
    Ok(Exit::Success)
}

async fn dispatch(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Status { at } => {
            let answer: Status = client(&at)?.get(&["status"], &[]).await?;
            show(&at, &answer, print::status)
        }
        Verb::Nodes { at } => {
            let answer: Vec<Node> = client(&at)?.get(&["nodes"], &[]).await?;
            show(&at, &answer, |nodes| print::nodes(nodes))
        }
        Verb::Shards { of, at } => {
            let query: Vec<_> = of.into_iter().map(|node| ("node", node)).collect();
            let answer: Vec<Shard> = client(&at)?.get(&["shards"], &query).await?;
            show(&at, &answer, |shards| print::shards(shards))
        }
        Verb::Where { doc, at } => {
            let answer: Where = client(&at)?.get(&["where", &doc], &[]).await?;
            show(&at, &answer, print::found)
        }
        Verb::Explain { subject, at } => {
            let answer: Explained = client(&at)?.get(&["explain", &subject.what], &[]).await?;
            show(&at, &answer, print::explained)
        }
        Verb::Plan { tried, at } => {
            let dry = Dry { ask: tried.map(Ask::from) };
            let answer: Plan = client(&at)?.post(&["plan"], &dry).await?;
            show(&at, &answer, print::plan)
        }
        Verb::Limits { node: None, cluster: None, at, .. } => {
            let answer: Status = client(&at)?.get(&["status"], &[]).await?;
            show(&at, &answer.limits, print::limits)
        }
        Verb::Revoked { after, limit, at } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(after.map(|after| ("after", after)));
            let answer: Listed = client(&at)?.get(&["revoked"], &query).await?;
            show(&at, &answer, print::revoked)
        }
        Verb::Revoke { revoked, who, at } => {
            let ask = revoked.ask().context("name the tokens: --jti or --subject")?;
            let done = give(&client(&at)?, &who, ask, None).await?;
            show(&at, &done, print::given)
        }
        Verb::Events { follow, after, at } => events(&at, after, follow).await,
        other => change(other).await,
    }
}

async fn change(verb: Verb) -> anyhow::Result<()> {
    let (ask, by, at) = match verb {
        Verb::Move { way, by, at } => (Tried::Move { way }.into(), by, at),
        Verb::Pin { way, by, at } => (Tried::Pin { way }.into(), by, at),
        Verb::Unpin { subject, by, at } => (Tried::Unpin { subject }.into(), by, at),
        Verb::Weight { node, weight, by, at } => (Ask::Weight { node, weight }, by, at),
        Verb::Drain { drained, by, at } => (Tried::Drain { drained }.into(), by, at),
        Verb::Undrain { node, by, at } => (Ask::Undrain { node }, by, at),
        Verb::Limits { node, cluster, by, at } => (Ask::Limits { per_node: node, cluster }, by, at),
        Verb::Pause { by, at } => (Ask::Pause, by, at),
        Verb::Resume { by, at } => (Ask::Resume, by, at),
        Verb::Apply { plan, tried, throttle, by, at } => {
            let ask = tried.map_or(Ask::Resume, Ask::from);
            let Some(moves) = throttle else {
                return carry_out(&at, &by, ask, Some(plan)).await;
            };
            throttled(&at, &by, &ask, (plan, moves)).await?;
            let applied = carry_out(&at, &by, ask, Some(plan)).await;
            return applied
                .with_context(|| format!("the limits are {moves} moves at once already"));
        }
        Verb::Status { .. }
        | Verb::Nodes { .. }
        | Verb::Shards { .. }
        | Verb::Where { .. }
        | Verb::Explain { .. }
        | Verb::Plan { .. }
        | Verb::Revoke { .. }
        | Verb::Revoked { .. }
        | Verb::Events { .. } => return Ok(()),
    };
    carry_out(&at, &by, ask, None).await
}

/// Limits the moves before a command is given, so that none begins under the old limits: those of a
/// node, too, or one that is drained would have fewer moves than was said. The two are records of
/// their own. A command that would be refused is not to change the limits, so it is tried first; a
/// join in between leaves the limits, and nothing that moves because of the command.
async fn throttled(at: &At, by: &By, ask: &Ask, (plan, moves): (u64, u32)) -> anyhow::Result<Done> {
    let client = client(at)?;
    let _: Plan = client.post(&["plan"], &Dry { ask: Some(ask.clone()) }).await?;
    let limits = Ask::Limits { per_node: Some(moves), cluster: Some(moves) };
    give(&client, &by.who, limits, Some(plan)).await
}

async fn give(client: &Client, who: &Who, ask: Ask, expected: Option<u64>) -> anyhow::Result<Done> {
    let given = Given { by: who.name.clone(), why: who.why.clone(), expected, ask };
    client.post(&["commands"], &given).await
}

async fn carry_out(at: &At, by: &By, ask: Ask, expected: Option<u64>) -> anyhow::Result<()> {
    let client = client(at)?;
    let emptied = match &ask {
        Ask::Drain { node, .. } => Some(node.clone()),
        _ => None,
    };
    let done = give(&client, &by.who, ask, expected).await?;
    show(at, &done, print::done)?;
    if !by.wait {
        return Ok(());
    }
    let waiting = wait(&client, &done, emptied.as_deref());
    match timeout(by.wait_max, waiting).await {
        Ok(waited) => waited,
        Err(_) => bail!(
            "not all has moved after {}: `quire plan` lists what is left, `quire events` why",
            spelled(by.wait_max)
        ),
    }
}

fn spelled(duration: Duration) -> String {
    humantime_serde::re::humantime::format_duration(duration).to_string()
}

/// Waits until what a command moves is where it is to be, as the node's events tell.
async fn wait(client: &Client, done: &Done, emptied: Option<&str>) -> anyhow::Result<()> {
    let mut progress = Progress::of(&done.moves);
    let bar = load::Progress::new("moved", progress.left() as u64);
    let mut stream = client.events(Some(done.before), true).await?;
    loop {
        let before = progress.left();
        if before == 0 {
            // What was on its way to the node meanwhile is to go as well.
            let Some(node) = emptied else { break };
            progress = left_on(client, node).await?;
            if progress.left() > 0 {
                continue;
            }
            check_empty(client, node).await?;
            break;
        }
        let Some(event) = stream.next().await? else {
            bail!("the node has stopped: ask another one with --url whether all has moved");
        };
        match progress.see(&event) {
            Step::Nothing => {}
            Step::Told(text) => eprintln!("{}", one_line(&text)),
            Step::Arrived(_) => bar.add((before - progress.left()) as u64),
            Step::Lost => {
                bail!("this node forgot what happened: look at `quire plan` for what is left");
            }
        }
    }
    bar.finish();
    eprintln!("all is where it is to be");
    Ok(())
}

/// Asks what is still to leave a node.
async fn left_on(client: &Client, node: &str) -> anyhow::Result<Progress> {
    let mut plan: Plan = client.post(&["plan"], &Dry::default()).await?;
    plan.moves.retain(|one| one.from == node);
    Ok(Progress::of(&plan.moves))
}

/// Refuses where a node is to keep shards after all: nobody else is left to take them.
async fn check_empty(client: &Client, node: &str) -> anyhow::Result<()> {
    let nodes: Vec<Node> = client.get(&["nodes"], &[]).await?;
    let shards = nodes.iter().find(|one| one.node == node).map_or(0, |one| one.shards);
    if shards > 0 {
        let node = one_line(node);
        bail!("{node} keeps {shards} shards, nobody takes them: look at `quire nodes`");
    }
    Ok(())
}

async fn events(at: &At, after: Option<u64>, follow: bool) -> anyhow::Result<()> {
    let mut stream = client(at)?.events(after, follow).await?;
    while let Some(event) = stream.next().await? {
        let line = match at.output() {
            Output::Table => print::event(&event),
            Output::Json => format!("{}\n", serde_json::to_string::<Event>(&event)?),
        };
        write(&line)?;
    }
    if follow {
        bail!("the node has stopped: follow another one with --url");
    }
    Ok(())
}

fn client(at: &At) -> anyhow::Result<Client> {
    Client::new(at.url.clone())
}

fn show<T: Serialize>(at: &At, answer: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    match at.output() {
        Output::Table => write(&table(answer)),
        Output::Json => write(&format!("{}\n", serde_json::to_string_pretty(answer)?)),
    }
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
