//! Replicas, browsers and what passes between them: real code, simulated edges.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::checks::Known;
use super::ledger::TrueClock;
use super::ledger::{Came, EPOCH, GRACE, Got, IDLE, LIFETIME, Ledger};
use super::line::{Life, Line};
use super::plan::{Dice, Fate, Kind, Setup};
use super::provider::Provider;
use super::store::{OnTheWay, Shared, StoreLine};
use crate::base::http_client::HttpClient;
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, SharedClock, Timestamp};
use crate::oidc::VerifiedIdToken;
use crate::oidc::script::ISSUER;
use crate::session::codec;
use crate::session::cookie::chunk::{self, MAX_CHUNKS};
use crate::session::cookie::jar::{Jar, Names};
use crate::session::cookie::seal::{Purpose, Sealer};
use crate::session::fleet::Means;
use crate::session::fleet::follow::Following;
use crate::session::model::{Generation, SessionId};
use crate::session::refresh::record::{Ask, EndCause, Refused};
use crate::session::sessions::{Admitted, Login, Sessions, Surroundings};
use crate::session::settings::Settings;
use crate::session::settings::tests::settings;
use crate::store::Store;
use crate::store::settings::Outage;
use crate::telemetry::metrics::Metrics;

/// A machine's clock.
#[derive(Debug)]
pub(super) struct Skewed {
    truth: TrueClock,
    pub(super) ahead: AtomicI64,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.truth.now().as_millis() + self.ahead.load(Ordering::Relaxed))
    }
}

/// One process.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    /// Its name: the last digit is the replica, what stands before says which process it is.
    pub(super) number: usize,
    pub(super) sessions: Sessions,
    pub(super) life: Arc<Life>,
    pub(super) clock: Arc<Skewed>,
    /// Its background work, and its requests.
    pub(super) tasks: Tasks,
    pub(super) edge: Tasks,
    pub(super) known: Known,
    pub(super) draining: Arc<std::sync::atomic::AtomicBool>,
    /// When the balancer notices that it stands still, if it does.
    pub(super) shunned: Arc<AtomicU64>,
}

/// A browser's cookies by name.
pub(super) type Cookies = BTreeMap<String, String>;

/// One browser.
#[derive(Debug, Default, Clone)]
pub(super) struct Browser {
    pub(super) cookies: Cookies,
    /// Whether its user was sent to the login.
    pub(super) must_login: bool,
}

/// What all tasks of a run share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) ledger: Arc<Ledger>,
    pub(super) provider: Arc<Provider>,
    pub(super) store: Arc<Shared>,
    browsers: Mutex<Vec<Browser>>,
    processes: Mutex<BTreeMap<usize, Replica>>,
    /// The last cookies of each session that a browser had.
    pub(super) copies: Mutex<BTreeMap<[u8; 16], Cookies>>,
    sealer: Sealer,
    names: Names,
    /// What is on its way to browsers.
    pub(super) wires: Tasks,
}

/// A response on its way.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) status: u16,
    cookies: Vec<HeaderValue>,
    must_login: bool,
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let ledger = Arc::new(Ledger::new(setup.clone()));
        let wires = Tasks::new(Handle::current());
        wires.reins().seed(Dice::of(setup.seed, "wires", 0).next());
        let settings = settings();
        Self {
            provider: Arc::new(Provider::new(Arc::clone(&ledger), wires.clone())),
            store: Arc::new(Shared::new(Arc::clone(&ledger), wires.clone())),
            ledger,
            processes: Mutex::default(),
            browsers: Mutex::new(vec![Browser::default(); setup.browsers]),
            copies: Mutex::default(),
            sealer: Sealer::new(&settings.keys, Purpose::Session, &settings.cookie.name).unwrap(),
            names: Names::new(&settings.cookie.name),
            wires,
        }
    }

    pub(super) fn browsers(&self) -> MutexGuard<'_, Vec<Browser>> {
        self.browsers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every process that serves.
    pub(super) fn processes(&self) -> Vec<Replica> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A process begins or ends to serve.
    pub(super) fn serves(&self, number: usize, process: Option<&Replica>) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        match process {
            Some(process) => processes.insert(number, process.clone()),
            None => processes.remove(&number),
        };
    }

    /// Starts a process: the `life`th of this replica.
    pub(super) fn start(&self, place: usize, life: usize) -> Replica {
        let number = life * 10 + place;
        let setup = &self.ledger.setup;
        let seed = Dice::of(setup.seed, "replica", u64::try_from(number).unwrap()).next();
        let (tasks, edge) = (Tasks::new(Handle::current()), Tasks::new(Handle::current()));
        tasks.reins().seed(seed);
        edge.reins().seed(!seed);
        let around = crate::base::secret::seeded::replace(Some(seed.rotate_left(7)));
        let ahead = AtomicI64::new(setup.skews[place]);
        let clock = Arc::new(Skewed { truth: TrueClock(Arc::clone(&self.ledger)), ahead });
        let shared_clock = Arc::new(SharedClock::new(Arc::<Skewed>::clone(&clock)));
        let its_life = Arc::new(Life::default());
        let line =
            Line { provider: Arc::clone(&self.provider), replica: number, life: Arc::clone(&its_life) };
        let line: Arc<dyn HttpClient> = Arc::new(line);
        let time: Arc<dyn Clock> = Arc::<SharedClock>::clone(&shared_clock);
        let provider = crate::oidc::Provider::new(crate::oidc::script::settings(), line, Arc::clone(&time));
        let store: Arc<dyn Store> = Arc::new(StoreLine::new(&self.store, place, &tasks));
        let outage = Outage { denials: setup.denials, refresh: setup.alone, after: Duration::from_secs(5) };
        let means = Means { store, clock: shared_clock, outage, timeout: Duration::from_millis(500) };
        let surroundings =
            Surroundings { clock: time, tasks: tasks.clone(), metrics: Metrics::new(), fleet: Some(means) };
        let sessions = Sessions::new(settings_of(setup), Arc::new(provider), surroundings).unwrap();
        crate::base::secret::seeded::replace(around);
        self.ledger.note(format!("replica {number} starts"));
        Replica {
            number,
            sessions,
            life: its_life,
            clock,
            tasks,
            edge,
            known: Known::default(),
            draining: Arc::default(),
            shunned: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// Whose cookies these are.
    pub(super) fn read(&self, cookies: &Cookies) -> Option<(SessionId, Generation)> {
        self.open(cookies).map(|(sid, generation, _)| (sid, generation))
    }

    fn sealed_at(&self, cookies: &Cookies) -> u64 {
        let since = |at: Timestamp| u64::try_from(at.since(EPOCH).as_millis()).unwrap();
        self.open(cookies).map_or(0, |(.., seen_at)| since(seen_at))
    }

    fn open(&self, cookies: &Cookies) -> Option<(SessionId, Generation, Timestamp)> {
        let headers = headers_of(cookies)?;
        let jar = Jar::read(&headers, &self.names);
        let (mut joined, mut plain) = (Vec::new(), Vec::new());
        let sealed = chunk::join(&jar.session, &mut joined)?;
        let bytes = self.sealer.open(sealed, &mut plain).ok()?;
        let start = codec::decode_start(bytes).ok()?;
        Some((start.sid, start.generation, start.seen_at))
    }

    /// A request at a replica, from its cookies to its response.
    pub(super) async fn answer(
        self: Arc<Self>,
        replica: Replica,
        (cookies, ask, kind): (Cookies, Ask, Kind),
        upstream: u64,
    ) -> Response {
        let (Some(headers), Some((sid, generation))) = (headers_of(&cookies), self.read(&cookies)) else {
            return Response { status: 401, cookies: Vec::new(), must_login: kind == Kind::Page };
        };
        let sessions = &replica.sessions;
        let seen_at = self.sealed_at(&cookies);
        let came = Came { replica: replica.number, sid, generation, seen_at, ask };
        self.ledger.came(&came);
        let jar = Jar::read(&headers, sessions.names());
        let known = sessions.shared().registry.newest(&sid).is_some();
        let in_use = self.ledger.case(&sid).is_some_and(|case| case.is_in_use(&came, self.ledger.now()));
        let (admitted, asked) = OnTheWay::new(sessions.admit(&jar, ask)).await;
        if asked > 0 && known && in_use {
            self.ledger.broken("R9", &format!("a request waits for the store: {came:?}"));
        }
        self.grows(&replica, &sid);
        match admitted {
            Admitted::Ticket(ticket) => {
                let (grant, good_until) = self.provider.judge(ticket.session.tokens.access());
                self.ledger.judge(&came, &Got::Served { grant, good_until });
                sleep(Duration::from_millis(upstream)).await;
                self.grows(&replica, &sid);
                let ticket =
                    crate::session::ticket::Ticket { carries_cookie: ask != Ask::NoRefresh, ..ticket };
                let cookies = sessions.cookies_due(&ticket);
                self.inspect(&replica, &came, &cookies);
                Response { status: 200, cookies, must_login: false }
            }
            Admitted::Nobody => {
                self.ledger.judge(&came, &Got::Nobody);
                Response { status: 401, cookies: Vec::new(), must_login: kind == Kind::Page }
            }
            Admitted::Refused { refused, presented } => {
                self.ledger.judge(&came, &Got::Refused(&refused));
                self.ended_rightly(&came, &refused);
                // As the gate does.
                let ended = matches!(&refused, Refused::Ended(cause) if *cause != EndCause::Replaced);
                let cookies = match (ended, kind) {
                    _ if ask == Ask::NoRefresh => Vec::new(),
                    (true, Kind::Script) => Vec::new(),
                    (true, Kind::Page) => sessions.deletion(presented.chunks),
                    (false, _) => sessions.newest_cookies(&presented),
                };
                if !ended {
                    self.inspect(&replica, &came, &cookies);
                }
                let status = status_of(&refused);
                let must_login = status == 401 && kind == Kind::Page && refused != Refused::RefreshNotAllowed;
                Response { status, cookies, must_login }
            }
        }
    }

    /// Rule 4: what a response sets is the newest generation of its session, and deletes nothing that lives.
    fn inspect(&self, replica: &Replica, came: &Came, cookies: &[HeaderValue]) {
        if cookies.is_empty() {
            return;
        }
        let mut set = Cookies::new();
        apply(&mut set, cookies);
        let shared = replica.sessions.shared();
        let newest = shared.registry.newest(&came.sid).map(|session| session.generation);
        let what = format!("generation {} presented, newest {newest:?}", came.generation);
        match self.read(&set) {
            None => self.ledger.broken("R4", &format!("a response sets no readable cookie: {what}")),
            Some((sid, _)) if sid != came.sid => self.ledger.broken("R4", "a response sets another session"),
            Some((_, sets)) if sets < came.generation || Some(sets) != newest => {
                self.ledger.broken("R4", &format!("a response sets generation {sets}: {what}"));
            }
            Some(_) => self.ledger.count("cookie sent"),
        }
        let case = self.ledger.case(&came.sid);
        if let Some(reason) = case.and_then(|case| self.ledger.denied_by_now(&case, replica.number)) {
            self.ledger
                .broken("R5", &format!("a response sets the cookie of a session that was ended: {reason}"));
        }
    }

    /// A login at a replica.
    pub(super) async fn log_in(
        self: Arc<Self>,
        replica: Replica,
        browser: usize,
        cookies: Cookies,
    ) -> Response {
        sleep(Duration::from_millis(50)).await;
        let user = browser % 3;
        let sent_at = replica.clock_now();
        let (grant, answer) = self.provider.grant(sent_at);
        let id_token = VerifiedIdToken::believed(ISSUER, &format!("user-{user}"));
        let login = Login { answer, id_token, nonce: "n".to_owned() };
        let headers = headers_of(&cookies).unwrap_or_default();
        let jar = Jar::read(&headers, replica.sessions.names());
        let before = self.read(&cookies);
        let (session, cookies) = replica.sessions.begin(login, &jar).unwrap();
        self.ledger.login(session.sid, grant, user);
        self.ledger.note(format!("browser {browser} logs in at replica {}: grant {grant}", replica.number));
        if let Some((sid, _)) = before {
            self.ledger.ended(&sid, replica.number, EndCause::Replaced);
        }
        Response { status: 200, cookies, must_login: false }
    }

    /// A logout at a replica.
    pub(super) async fn log_out(self: Arc<Self>, replica: Replica, cookies: Cookies) -> Response {
        let Some(headers) = headers_of(&cookies) else {
            return Response { status: 200, cookies: Vec::new(), must_login: false };
        };
        let jar = Jar::read(&headers, replica.sessions.names());
        drop(replica.sessions.end(&jar, EndCause::Logout));
        if let Some((sid, _)) = self.read(&cookies) {
            self.ledger.ended(&sid, replica.number, EndCause::Logout);
            self.ledger.note(format!("{} is logged out at replica {}", sid.log_id(), replica.number));
        }
        Response { status: 200, cookies: replica.sessions.deletion(jar.chunks()), must_login: false }
    }

    /// Sends a request on its way, and its response.
    pub(super) fn send<F>(self: &Arc<Self>, replica: &Replica, browser: usize, fate: Fate, work: F)
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let world = Arc::clone(self);
        let (task, process) = (replica.edge.spawn(work), replica.edge.clone());
        let abort = task.abort_handle();
        self.wires.spawn(async move {
            match fate {
                Fate::Abandoned(after) => {
                    sleep(Duration::from_millis(after)).await;
                    // Who stands still does not see it yet.
                    process.reins().moving().await;
                    abort.abort();
                }
                Fate::Lost => drop(task.await),
                Fate::Arrives(after) => {
                    // An error is a replica that was killed.
                    if let Ok(response) = task.await {
                        sleep(Duration::from_millis(after)).await;
                        world.arrive(browser, &response);
                    }
                }
            }
        });
    }

    /// A browser takes in a response.
    pub(super) fn arrive(&self, browser: usize, response: &Response) {
        let mut browsers = self.browsers();
        let browser = &mut browsers[browser];
        browser.must_login |= response.must_login;
        if response.cookies.is_empty() {
            return;
        }
        let before = self.read(&browser.cookies);
        apply(&mut browser.cookies, &response.cookies);
        let after = self.read(&browser.cookies);
        if before.map(|(sid, _)| sid) != after.map(|(sid, _)| sid) {
            browser.must_login = false;
        }
        if let Some((sid, _)) = after {
            let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
            copies.insert(*sid.as_bytes(), browser.cookies.clone());
        } else if !browser.cookies.is_empty() {
            self.ledger.broken("R4", "a browser's cookies are a mixture");
        }
    }
}

impl Replica {
    pub(super) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && *self.sessions.following().borrow() == Following::Loaded
    }

    /// Whether the process stands still.
    pub(super) fn is_still(&self) -> bool {
        self.tasks.reins().is_stopped()
    }

    /// Every task of the process stops where it is; `noticed` is when nobody is sent there any more.
    pub(super) fn stop(&self, noticed: u64) {
        self.shunned.store(noticed, Ordering::Relaxed);
        self.edge.reins().stop();
        self.tasks.reins().stop();
    }

    /// They go on, in any order.
    pub(super) fn go_on(&self, seed: u64) {
        self.shunned.store(u64::MAX, Ordering::Relaxed);
        let [first, second] =
            if seed.is_multiple_of(2) { [&self.edge, &self.tasks] } else { [&self.tasks, &self.edge] };
        first.reins().go_on(seed);
        second.reins().go_on(!seed);
    }

    /// As the provider's client reads the time: by the shared clock.
    fn clock_now(&self) -> Timestamp {
        self.sessions.shared().now()
    }

    /// Every task of the process vanishes.
    pub(super) fn kill(&self) {
        self.life.over.store(true, Ordering::Relaxed);
        self.edge.reins().kill();
        self.tasks.reins().kill();
    }
}

fn settings_of(setup: &Setup) -> Settings {
    Settings {
        lifetime: Duration::from_millis(LIFETIME),
        idle_timeout: Duration::from_millis(IDLE),
        grace: Duration::from_millis(GRACE),
        rollback: setup.rollback,
        after_unknown: setup.after_unknown,
        ..settings()
    }
}

fn headers_of(cookies: &Cookies) -> Option<HeaderMap> {
    if cookies.is_empty() {
        return None;
    }
    let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_str(&pairs.join("; ")).ok()?);
    Some(headers)
}

/// What a browser does with `Set-Cookie`.
fn apply(cookies: &mut Cookies, set: &[HeaderValue]) {
    assert!(set.len() <= MAX_CHUNKS, "more cookies than chunks");
    for header in set {
        let text = header.to_str().unwrap();
        let (pair, attributes) = text.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        if attributes.contains("Max-Age=0;") {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

fn status_of(refused: &Refused) -> u16 {
    match refused {
        Refused::Unavailable(_) | Refused::StoreUnavailable(_) => 503,
        Refused::Ended(_)
        | Refused::RolledBack
        | Refused::NoRefreshToken
        | Refused::RefreshNotAllowed
        | Refused::LoginRequired(_)
        | Refused::RefreshUnknown => 401,
    }
}
