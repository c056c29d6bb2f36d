//! One connection in use.

use super::{
    dial::{Dialer, Stream, bounded},
    error,
    health::Life,
    reply,
};
use crate::store::StoreError;
use redis::{
    Cmd, Pipeline, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
    cmd,
};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// A connection; its failure is that of all that share it.
#[derive(Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    life: Arc<Life>,
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn open(
        dialer: &Dialer,
        life: &Arc<Life>,
        pushes: Option<Arc<dyn AsyncPushSender>>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, StoreError> {
        let socket = dialer.socket().await?;
        Self::login(dialer, socket, life, pushes, tasks).await
    }

    /// Logs in. The driver runs in `tasks`; when it ends, the link has ended.
    pub(super) async fn login(
        dialer: &Dialer,
        socket: Box<dyn Stream>,
        life: &Arc<Life>,
        pushes: Option<Arc<dyn AsyncPushSender>>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, StoreError> {
        let (connection, driver) = dialer.login(socket, pushes).await?;
        let ends = EndsLife(Arc::clone(life));
        tasks.spawn(crate::simulation::task(async move {
            let _ends = ends;
            driver.await;
        }));
        Ok(Self { connection, life: Arc::clone(life) })
    }

    /// The same connection, as part of a link that shares it with others.
    pub(super) fn of_link(&self, link: &Arc<Life>) -> Self {
        Self { connection: self.connection.clone(), life: Arc::clone(link) }
    }

    /// Sends commands in one write and waits for all answers. Answers that are errors are among them.
    pub(super) async fn ask(&self, commands: &Pipeline, within: Duration) -> Result<Vec<Value>, StoreError> {
        self.life.check()?;
        let mut connection = self.connection.clone();
        let answers = async {
            let answers = connection.send_packed_commands(commands, 0, commands.len()).await;
            answers.map_err(error::from_driver)
        };
        let answers = bounded(within, "no answer", answers).await.map_err(|error| self.life.judge(error))?;
        if answers.len() == commands.len() {
            Ok(answers)
        } else {
            Err(reply::nonsense("answers are missing"))
        }
    }

    /// Sends one command. An answer that is an error is the error.
    pub(super) async fn ask_one(&self, command: Cmd, within: Duration) -> Result<Value, StoreError> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let answer = self.ask(&commands, within).await?.pop();
        self.accept(answer.ok_or_else(|| reply::nonsense("answers are missing"))?)
    }

    /// An answer, or the error that it is; one that the link can't survive ends it.
    pub(super) fn accept(&self, answer: Value) -> Result<Value, StoreError> {
        match answer {
            Value::ServerError(error) => Err(self.life.judge(error::from_server(&error))),
            answer => Ok(answer),
        }
    }
}

/// However a driver ends, by the connection's end, by a panic, with its runtime: the link has ended with it.
struct EndsLife(Arc<Life>);

impl Drop for EndsLife {
    fn drop(&mut self) {
        self.0.end("the connection has ended");
    }
}

/// A command of plain words.
pub(super) fn command(words: &[&str]) -> Cmd {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command
}
