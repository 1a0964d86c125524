//! The one place where the floors are joined: a configuration becomes a running server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::time::{interval, timeout_at};

use super::admin_socket::{AdminSocket, is_alive};
use super::around::{forget_audit, operators};
use super::certificates::{self as keeping, Verbs};
use super::check::{bucket, certificates, clock_warning, open_folder, ports_free};
use super::clock::now;
use super::config::{Config, Conflict as ConflictKey, Origins, Problem};
use super::federation::{self, Federation};
use super::listening::{Listening, listen_for_peers};
use super::places::{Places, bind_all};
use super::{periodic, services};
use crate::admin::{Operators, Response};
use crate::base::id::{OsRng, Rng};
use crate::modules::api::{Cause, PeriodicJob, Serving, Stage};
use crate::modules::{self, Pipeline};
use crate::net::acme::Keeper;
use crate::net::c2s::{ClientStreams, ListenerKind};
use crate::net::tls::{Reloaded, Tls};
use crate::net::web::{
    ApiCounts, BoshTable, Desk, Door, Entrance, Settings as WebSettings, Started, Watchers, Web,
};
use crate::router::outbox::End;
use crate::router::peers::Peers;
use crate::router::registry::Conflict;
use crate::router::{Router, ServiceId, flush};
use crate::session::{Context, Counts, Ports, saved};
use crate::store::{OpenError, Store, meta};
use crate::stream::c2s::{Offers, Policy};
use crate::stream::features::Inline;
use crate::stream::sasl::throttle::Throttle;

/// A server that serves.
pub struct Running {
    /// Where it listens.
    pub places: Places,
    /// Certificates.
    pub tls: Tls,
    /// Everything durable.
    pub store: Store,
    context: Arc<Context>,
    stop: watch::Sender<bool>,
    save: watch::Sender<bool>,
    federation: Federation,
    keeper: Option<Arc<Keeper>>,
}

/// Starts a server: store, certificates, listeners, in this order; what fails says what to do. What can be
/// looked at before is, so that a slip leaves no database behind.
pub async fn start(config: &Config, origins: &Origins) -> Result<Running, Problem> {
    certificates::prove(config, origins)?;
    alone(config, origins).await?;
    ports_free(config, origins)?;
    warn(config, origins);
    let store = open_store(config).await?;
    let secret = secret_of(&store, "sasl").await?;
    let tls = load_tls(config)?;
    let (stop, stopping) = watch::channel(false);
    let (save, saving) = watch::channel(false);
    let (peers, rules) = federation::peers(config);
    let context = context(config, store.clone(), secret, peers, (stopping, saving));
    let secret = secret_of(&store, "dialback").await?;
    let federation = Federation::new(config, origins, &context, (rules, secret), tls.clone())?;
    federation.read_rules().await?;
    bucket::open(config, origins, &context.pipeline)?;
    (0..context.pipeline.services().len())
        .for_each(|service| services::serve(&context, ServiceId(service)));
    // Before sessions are taken out of the store: a start that fails here leaves them to the next one.
    let socket = bind_operator(config, origins).await?;
    let left = federation.restore().await?;
    restore_sessions(&context).await?;
    let bound = bind_all(config, origins).await?;
    let places = Places::of(&bound);
    let [
        c2s,
        c2s_tls,
        web,
        web_plain,
        metrics,
        api,
        s2s,
        s2s_tls,
        components,
        components_tls,
        acme,
    ] = bound;
    let first = |bound: &[SocketAddr]| bound.first().map(SocketAddr::port);
    let ports = Ports { starttls: first(&places.c2s), direct: first(&places.c2s_tls) };
    let on = Listening::new(&context);
    for (listeners, kind) in [(c2s, ListenerKind::StartTls), (c2s_tls, ListenerKind::Direct)] {
        let proxies = config.c2s.proxies();
        on.all(listeners, ClientStreams::new(context.clone(), tls.clone(), ports, kind, proxies));
    }
    let settings = config.web.settings(!config.c2s.require_tls, &config.data_dir);
    // A proxy has the usual port.
    let port = first(&places.web).or(first(&places.web_plain).map(|_| 443));
    context.pipeline.shared().web_address.set(&settings.url, port, settings.pages);
    let keeper = keeping::keeper(config, &tls);
    let door = web_side(&context, &federation, (settings, ports), keeper.clone());
    for (listeners, entrance) in
        [(web, Entrance::Tls), (web_plain, Entrance::Plain), (acme, Entrance::Proofs)]
    {
        on.all(listeners, Door::new(door.clone(), tls.clone(), entrance));
    }
    // Counted apart: whoever has all streams of an address still hears how the server is.
    Listening::new(&context).all(metrics, Watchers::new(door.clone(), tls.clone()));
    let verbs = Arc::new(Verbs { tls: tls.clone(), keeper: keeper.clone() });
    let operators = operators(&context, &federation, config, verbs);
    let desk = Desk::new(door.clone(), operators.clone(), config.admin.api(), tls.clone());
    Listening::new(&context).all(api, desk);
    listen_for_peers(&context, &federation, [s2s, s2s_tls], [components, components_tls]);
    let running = Running { places, tls, store, context, stop, save, federation, keeper };
    running.watch_certificates();
    running.start_periodic_jobs();
    running.listen_to_operator(socket, operators);
    forget_audit(&running.context, config.admin.audit_days);
    running.federation.begin(left);
    running.store.check_after_unclean_stop();
    door.started.set();
    Ok(running)
}

impl Running {
    /// Stops within `limit`: streams get `system-shutdown`, writes commit. False if time ran out.
    pub async fn stop(self, limit: Duration) -> bool {
        // Nobody listens any more only if everything is over already.
        let _ = self.stop.send(true);
        self.context.router.questions.close();
        for outbox in self.context.router.registry.all() {
            outbox.end(End::Shutdown);
        }
        let tasks = &self.context.router.tasks;
        let end = clock() + limit;
        // What is left of the time is for those that are written down.
        let soon = clock() + limit * 3 / 5;
        // Nobody flushes deferred rows any more.
        self.context.router.flush_deferred();
        let drained = timeout_at(soon.into(), tasks.drained()).await.is_ok();
        self.context.router.flush_deferred();
        // Whoever could not be resumed has ended: what others were told of it is in the boxes
        // of those who can, and goes with them (promise.md 11).
        let _ = self.save.send(true);
        let saved = timeout_at(end.into(), tasks.ended()).await.is_ok();
        self.context.router.write_deferred().await;
        let written = timeout_at(end.into(), self.finish_modules()).await.is_ok();
        self.store.close().await;
        drained && saved && written
    }

    /// The domains that other servers reach here, and where.
    pub fn reached(&self) -> Vec<(String, SocketAddr)> {
        let Some(place) = self.places.s2s.first() else { return Vec::new() };
        self.federation.domains.iter().map(|domain| (domain.clone(), *place)).collect()
    }

    /// Says where domains of other servers of this process are; before anything is sent there.
    pub fn meet(&self, places: Vec<(String, SocketAddr)>) {
        self.federation.meet(places);
    }

    /// Reads certificates again where their files changed, or all on SIGHUP.
    pub fn reload(&self) {
        reload(&self.tls);
        self.federation.tls.reload();
    }

    fn watch_certificates(&self) {
        if let Some(keeper) = &self.keeper {
            let work = keeper.clone().run(self.context.stopping.clone());
            self.context.router.tasks.spawn("certificate", work);
        }
        let (tls, peers) = (self.tls.clone(), self.federation.tls.clone());
        let mut stopping = self.context.stopping.clone();
        self.context.router.tasks.spawn("certificates", async move {
            let mut tick = interval(CERTIFICATE_POLL);
            let mut ticks: u64 = 0;
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                }
                if tls.files_changed() {
                    reload(&tls);
                    peers.reload();
                }
                ticks += 1;
                if ticks.is_multiple_of(WARN_EVERY) {
                    // The system's authorities change with its updates.
                    peers.reload();
                    tls.warnings(now()).iter().for_each(|warning| tracing::warn!("{warning}"));
                }
            }
        });
    }

    fn job(&self) -> PeriodicJob {
        PeriodicJob {
            cause: Cause::Due,
            now: now(),
            config: self.context.config.clone(),
            store: self.store.clone(),
            router: self.context.router.clone(),
            server: self.context.pipeline.clone(),
        }
    }

    async fn finish_modules(&self) {
        for stopped in modules::ALL.iter().filter_map(|module| module.stopped) {
            stopped(self.job()).await;
        }
    }

    fn start_periodic_jobs(&self) {
        let job = self.job();
        let deleted = self.context.pipeline.shared().account_deleted.clone();
        let work = periodic::run(modules::ALL, job.clone(), deleted, self.context.stopping.clone());
        self.context.router.tasks.spawn("upkeep", work);
        for background in modules::ALL.iter().filter_map(|module| module.background) {
            let (work, mut stopping) = (background(job.clone()), self.context.stopping.clone());
            self.context.router.tasks.spawn("background", async move {
                tokio::select! {
                    () = work => {}
                    _ = stopping.wait_for(|stopping| *stopping) => {}
                }
            });
        }
        let (router, mut stopping) = (self.context.router.clone(), self.context.stopping.clone());
        self.context.router.tasks.spawn("idle rows", async move {
            tokio::select! {
                () = flush::flush_periodically(&router) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
    }

    fn listen_to_operator(&self, socket: AdminSocket, operators: Operators) {
        let mut stopping = self.context.stopping.clone();
        self.context.router.tasks.spawn("admin", async move {
            let answer = move |request| {
                let operator = operators();
                async move {
                    match operator {
                        Some(operator) => operator.run(request).await,
                        None => Response::error("no domain is served"),
                    }
                }
            };
            tokio::select! {
                _ = socket.serve(answer) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
    }
}

/// What all that speaks HTTP shares.
fn web_side(
    context: &Arc<Context>,
    federation: &Federation,
    (settings, ports): (WebSettings, Ports),
    keeper: Option<Arc<Keeper>>,
) -> Arc<Web> {
    Arc::new(Web {
        context: context.clone(),
        settings,
        ports,
        bosh: BoshTable::default(),
        started: Started::default(),
        peers: federation.streams.clone(),
        keeper,
        api: ApiCounts::default(),
    })
}

/// Said before a port is found taken: it would be blamed on some other server.
async fn alone(config: &Config, origins: &Origins) -> Result<(), Problem> {
    match is_alive(&config.admin_socket()).await {
        true => Err(Problem {
            what: format!(
                "a Stonechat already runs on the data folder {}",
                config.data_dir.display()
            ),
            place: origins.of("data_dir"),
            fix: OTHER.to_owned(),
        }),
        false => Ok(()),
    }
}

const OTHER: &str = "`stonechat status` says how it is; stop that one first, or give this one a folder and ports \
    of its own: --data-dir, --set c2s.listen=…";

async fn bind_operator(config: &Config, origins: &Origins) -> Result<AdminSocket, Problem> {
    let path = config.admin_socket();
    AdminSocket::bind(&path).await.map_err(|error| Problem {
        what: format!("the admin socket {} cannot be made: {error}", path.display()),
        place: origins.of("admin.socket"),
        fix: "name another path in admin.socket, or end the server that uses this one".to_owned(),
    })
}

/// What an operator should see to, and what does not stop the server.
fn warn(config: &Config, origins: &Origins) {
    if let Some(line) = clock_warning() {
        tracing::warn!("{line}");
    }
    if let Some(Problem { what, fix, .. }) = open_folder(config, origins) {
        tracing::warn!("{what}; {fix}");
    }
}

fn load_tls(config: &Config) -> Result<Tls, Problem> {
    let made = |error| Problem::told(&error, "the server's own certificates".to_owned(), CHECK);
    let tls = Tls::load(certificates::settings(config)).map_err(made)?;
    tls.warnings(now()).iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(tls)
}

fn reload(tls: &Tls) {
    for (host, outcome) in tls.reload().hosts {
        match outcome {
            Reloaded::Changed => tracing::info!(host, "certificate reloaded"),
            Reloaded::Unchanged => {}
            // The reason was logged where it was found; the old certificate stays.
            Reloaded::Refused(_) => tracing::warn!(host, "the old certificate stays in use"),
        }
    }
}

async fn open_store(config: &Config) -> Result<Store, Problem> {
    let options = config.store_options();
    let path = options.path.display().to_string();
    #[allow(clippy::disallowed_methods)] // migrations may take a while
    let opened = tokio::task::spawn_blocking(move || Store::open(options)).await;
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(error @ OpenError::InUse { .. })) => Err(problem(error, &path, TWO_ON_ONE_FOLDER)),
        Ok(Err(error)) => Err(Problem::told(&error, path, CHECK)),
        Err(_) => Err(problem(
            "opening the database failed inside",
            &path,
            "this is a bug; please report it",
        )),
    }
}

/// The sessions saved over the restart are there before the first client comes.
async fn restore_sessions(context: &Arc<Context>) -> Result<(), Problem> {
    let restored = saved::restore_all(context).await;
    let (back, lost) =
        restored.map_err(|error| problem(error, "the database", "run `stonechat check --deep`"))?;
    if back + lost > 0 {
        tracing::info!(sessions = back, lost, "sessions wait to be resumed");
    }
    Ok(())
}

async fn secret_of(store: &Store, name: &'static str) -> Result<[u8; 32], Problem> {
    let mut fresh = [0; 32];
    OsRng.fill(&mut fresh);
    let secret = store.write(move |tx| meta::get_or_create_secret(tx, name, &fresh)).await;
    secret.map_err(|error| problem(error, "the database", "run `stonechat check --deep`"))
}

fn context(
    config: &Config,
    store: Store,
    secret: [u8; 32],
    peers: Peers,
    (stopping, saving): (watch::Receiver<bool>, watch::Receiver<bool>),
) -> Arc<Context> {
    let limits = Arc::new(config.limits.clone());
    let hosts: Vec<String> = config.host.iter().map(|host| host.domain.clone()).collect();
    let module_config = Arc::new(config.module_config());
    let pipeline = Pipeline::build(modules::ALL, &module_config, now());
    let policy = Policy {
        hosts: hosts.clone(),
        require_tls: config.c2s.require_tls,
        mechanisms: config.sasl.mechanisms(),
        iterations: config.sasl.iterations,
        secret,
        limits: limits.clone(),
        authenticate_features: pipeline.stream_features(Stage::Authenticate).to_owned(),
        bind_features: pipeline.stream_features(Stage::Bind).to_owned(),
        inline: Inline {
            bind: pipeline.inline_features(),
            fast: config.modules.devices.token_days > 0,
            upgrade: true,
        },
        offers: Offers::default(),
    };
    let (first, most) = (config.sasl.delay_first_ms, config.sasl.delay_max_ms);
    let throttle = Throttle::new(THROTTLE_ENTRIES)
        .with_delays(Duration::from_millis(first), Duration::from_millis(most));
    let features = modules::features(modules::ALL, module_config.clone());
    let mut router = Router::new(hosts.clone(), store, limits)
        .with_features(features)
        .with_peers(peers)
        .with_afterwards(modules::api::after(module_config.clone(), pipeline.clone(), now));
    let of = |service: &Serving| hosts.iter().map(|host| service.domain(host)).collect::<Vec<_>>();
    for service in pipeline.services() {
        router.add_service(of(service));
    }
    Arc::new(Context {
        router: Arc::new(router),
        pipeline,
        config: module_config,
        policy: Arc::new(policy.prepared()),
        conflict: match config.session.conflict {
            ConflictKey::Replace => Conflict::Replace,
            ConflictKey::Refuse => Conflict::Refuse,
            ConflictKey::Rename => Conflict::Rename,
        },
        throttle: Mutex::new(throttle),
        workers: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
        stopping,
        saving,
        resume_table: Arc::default(),
        resume_location: Some(config.session.resume_location.clone())
            .filter(|location| !location.is_empty()),
        counts: Counts::default(),
    })
}

fn problem(what: impl std::fmt::Display, place: &str, fix: &str) -> Problem {
    Problem { what: what.to_string(), place: place.to_owned(), fix: fix.to_owned() }
}

#[allow(clippy::disallowed_methods)] // the monotonic clock
fn clock() -> Instant {
    Instant::now()
}

/// Addresses and accounts whose failed logins are remembered; a few hundred bytes each.
const THROTTLE_ENTRIES: usize = 10_000;
const TWO_ON_ONE_FOLDER: &str = "most likely a Stonechat runs here already; a second one needs a \
    folder and ports of its own: --data-dir other-data --set c2s.listen=127.0.0.1:15222 \
    --set c2s.listen_tls=127.0.0.1:15223 --set s2s.listen=127.0.0.1:15269 \
    --set web.listen=127.0.0.1:15443 --set metrics.listen=127.0.0.1:15444 \
    --set admin.listen=127.0.0.1:15445";
const CHECK: &str = "run `stonechat check` for a closer look";
const CERTIFICATE_POLL: Duration = Duration::from_secs(5);
/// Polls between two looks at expiry: a day's worth.
const WARN_EVERY: u64 = 17_280;
