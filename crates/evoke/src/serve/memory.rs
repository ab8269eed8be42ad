//! How much memory this machine has for instances, where nobody says it.

use std::path::{Path, PathBuf};

/// Of what there is, so much goes to instances: the rest is for the server, what instances are forked from, and the disk's
/// cache.
const SHARE: (u64, u64) = (3, 4);
/// Where nothing can be read.
const UNKNOWN: u64 = 2 << 30;

/// Three quarters of what this process may use: the machine's memory, or the limit of its control group.
pub fn for_instances() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| limit(&file));
    let least = limits.chain(machine).min().unwrap_or(UNKNOWN);
    least / SHARE.1 * SHARE.0
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// The files that may hold the limit of this process and of those around it, for both versions of control groups
/// (`/proc/self/cgroup`, cgroups(7)).
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let path = path.trim_start_matches('/');
        // In a container the path is that of the host, and what is mounted is the container's own group.
        files.extend(Path::new(path).ancestors().map(|path| Path::new(root).join(path).join(file)));
    }
    files
}

/// No number, or one that stands for "none", is no limit: those are larger than any machine and do not matter in a minimum.
fn limit(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_what_its_kernel_says() {
        assert_eq!(total("MemTotal:       24684512 kB\nMemFree: 1 kB\n"), Some(24_684_512 << 10));
        assert!(for_instances() > 64 << 20);
    }

    #[test]
    fn limits_of_both_versions_and_of_all_groups_around_are_looked_at() {
        let files = limit_files("5:cpu,cpuacct:/a\n4:memory:/docker/x\n0::/user.slice\n");
        let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }
}
