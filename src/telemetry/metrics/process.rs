//! What the kernel says of this process, read from `/proc/self` at each scrape.
//!
//! The names are those that every Prometheus client uses. Where there is no `/proc`, there is no metric.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The unit of times in `/proc/self/stat`; Linux fixes `USER_HZ` at 100 on all of our targets.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the kernel's figures.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, unit: Option<Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = kilobytes(&status, "VmRSS:").map(|kb| kb * 1024.0);
        gauge("process_resident_memory", "Resident memory", Some(Unit::Bytes), resident)?;
        gauge("process_open_fds", "Open file descriptors", None, open_fds())?;
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        gauge("process_max_fds", "Most file descriptors that may be open", None, max_fds(&limits))?;
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let started = Times::parse(&stat).zip(boot_time(&system)).map(|(times, boot)| boot + times.started);
        gauge("process_start_time", "When the process started, in Unix time", Some(Unit::Seconds), started)?;
        let Some(times) = Times::parse(&stat) else { return Ok(()) };
        let cpu = ConstCounter::new(times.cpu);
        let about = "CPU time spent in user and system mode";
        let name =
            encoder.encode_descriptor("process_cpu", about, Some(&Unit::Seconds), cpu.metric_type())?;
        cpu.encode(name)
    }
}

/// The times of `/proc/self/stat`, in seconds.
#[derive(Debug, PartialEq)]
struct Times {
    cpu: f64,
    started: f64,
}

impl Times {
    fn parse(stat: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold blanks; the third follows the last `)`.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields = rest.split_ascii_whitespace().collect::<Vec<_>>();
        let seconds = |field: usize| Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        // proc_pid_stat(5): 14 utime, 15 stime, 22 starttime (since boot).
        Some(Self { cpu: seconds(14)? + seconds(15)?, started: seconds(22)? })
    }
}

fn boot_time(system: &str) -> Option<f64> {
    system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn kilobytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

fn open_fds() -> Option<f64> {
    // The listing holds one descriptor open itself.
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(open).ok().map(f64::from)
}

fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_program_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 123456 1 2 3";
        assert_eq!(Times::parse(stat), Some(Times { cpu: 3.0, started: 1234.56 }));
        assert_eq!(Times::parse("7 (a) S 1"), None);
        assert_eq!(Times::parse(""), None);
    }

    #[test]
    fn files_of_proc_are_read() {
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t   5120 kB\n", "VmRSS:"), Some(5120.0));
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files    1024   1048576   files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_figures() {
        let text = Metrics::new().encode();
        let value = |name: &str| {
            let line =
                text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}\n{text}"));
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_start_time_seconds ") > 1_600_000_000.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
    }
}
