use std::fs;

use super::*;

fn section(name: &str) -> Section {
    Section::ALL.into_iter().find(|section| section.name() == name).expect("a section")
}

#[test]
fn tables_are_sorted() {
    for section in Section::ALL {
        assert!(section.directives().is_sorted_by(|a, b| a.name < b.name), "{section:?}");
    }
}

/// Every case was put to two systemds; see the head of cases.tsv.
#[test]
fn agrees_with_systemd() {
    let mut wrong = Vec::new();
    for case in include_str!("cases.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = case.split('\t').collect();
        let [place, name, value, taken_by] = columns[..] else { panic!("{case}") };
        let directive = lookup(section(place), name).unwrap_or_else(|| panic!("{case}"));
        if check(directive.kind, value).is_ok() != (taken_by != "-") {
            wrong.push(case);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn resets_and_specifiers_pass() {
    for section in Section::ALL {
        for directive in section.directives() {
            for value in ["", "  ", "%i", "x%ny"] {
                assert_eq!(check(directive.kind, value), Ok(()), "{}={value}", directive.name);
            }
        }
    }
    assert!(check(Kind::Quota, "50%%").is_err());
}

#[test]
fn refusals_say_what_is_accepted() {
    let refusal = |section, name, value| check(lookup(section, name).unwrap().kind, value).unwrap_err();
    assert_eq!(
        refusal(Section::Service, "NoNewPrivileges", "maybe"),
        "a boolean: yes, no, true, false, on, off, 1 or 0"
    );
    assert_eq!(
        refusal(Section::Service, "ProtectSystem", "maybe"),
        "a boolean: yes, no, true, false, on, off, 1 or 0; or full or strict"
    );
    assert_eq!(refusal(Section::Service, "WorkingDirectory", "x"), "one of: ~, -~, /… or -/…");
    assert_eq!(refusal(Section::Slice, "CPUWeight", "0"), "idle, or a whole number from 1 to 10000");
    assert_eq!(refusal(Section::Service, "Nice", "20"), "a whole number from -20 to 19");
}

#[test]
fn versions_of_directives() {
    let since = |section, name| lookup(section, name).map(|directive| directive.since);
    assert_eq!(since(Section::Service, "Restart"), Some(0));
    assert_eq!(since(Section::Service, "OpenFile"), Some(253));
    assert_eq!(since(Section::Service, "RestartSteps"), Some(254));
    assert_eq!(since(Section::Service, "RestartMode"), Some(254));
    assert_eq!(since(Section::Slice, "StartupMemoryMax"), Some(254));
    assert_eq!(since(Section::Unit, "SurviveFinalKillSignal"), Some(255));
    assert_eq!(since(Section::Socket, "PassFileDescriptorsToExec"), Some(256));
    assert_eq!(since(Section::Service, "PrivatePIDs"), Some(257));
    assert_eq!(since(Section::Slice, "Restart"), None);
    for directive in Section::ALL.iter().flat_map(|section| section.directives()) {
        assert!(directive.since == 0 || (253..=super::table::NEWEST).contains(&directive.since), "{}", directive.name);
    }
}

#[test]
fn suggestions() {
    assert_eq!(nearest(Section::Service, "Retsart"), Some("Restart"));
    assert_eq!(nearest(Section::Service, "limitnofile"), Some("LimitNOFILE"));
    assert_eq!(nearest(Section::Service, "Tpye"), Some("Type"));
    assert_eq!(nearest(Section::Slice, "MemoyMax"), Some("MemoryMax"));
    assert_eq!(nearest(Section::Service, "Foo"), None);
    assert_eq!(nearest(Section::Service, ""), None);
    assert_eq!(nearest(Section::Service, "CompletelyUnknown"), None);
    assert_eq!(section_of("After"), Some(Section::Unit));
    assert_eq!(section_of("Restart"), Some(Section::Service));
    assert_eq!(section_of("ListenStream"), Some(Section::Socket));
    assert_eq!(section_of("Bogus"), None);
}

#[test]
fn snake_case() {
    let name = |key| lookup_snake(Section::Slice, key).map(|directive| directive.name);
    assert_eq!(name("memory_max"), Some("MemoryMax"));
    assert_eq!(name("cpu_weight"), Some("CPUWeight"));
    assert_eq!(name("io_read_iops_max"), Some("IOReadIOPSMax"));
    assert_eq!(name("allowed_cpus"), Some("AllowedCPUs"));
    assert_eq!(name("ip_address_deny"), Some("IPAddressDeny"));
    assert_eq!(name("managed_oom_swap"), Some("ManagedOOMSwap"));
    assert_eq!(name("memory_zswap_max"), Some("MemoryZSwapMax"));
    for wrong in ["MemoryMax", "memorymax", "memory__max", "_memory_max", "memory_max_", "memory_m_ax", "memory"] {
        assert_eq!(name(wrong), None, "{wrong}");
    }
    for directive in Section::ALL.into_iter().flat_map(Section::directives) {
        let found = |section| lookup_snake(section, &snake(directive.name)).map(|found| found.name);
        assert!(Section::ALL.into_iter().any(|section| found(section) == Some(directive.name)), "{}", directive.name);
    }
    assert_eq!(snake("StartupAllowedCPUs"), "startup_allowed_cpus");
}

#[test]
fn keys_of_conditions() {
    for (key, directive) in [
        ("host", "ConditionHost"),
        ("path", "ConditionPathExists"),
        ("kernel_version", "ConditionKernelVersion"),
        ("cpus", "ConditionCPUs"),
    ] {
        assert_eq!(lookup_condition(key).map(|known| known.name), Some(directive));
        assert_eq!(condition_key(directive).as_deref(), Some(key));
    }
    assert_eq!(condition_key("Description"), None);
}

#[test]
fn version_from_library() {
    let root = std::env::temp_dir().join(format!("directive-{}", std::process::id()));
    let create = |path: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    };
    assert_eq!(systemd_version(&root), None);
    create("usr/lib/systemd/libsystemd-core-999.so");
    create("usr/lib/systemd/libsystemd-shared-999.so.dpkg-new");
    assert_eq!(systemd_version(&root), None);
    create("lib/systemd/libsystemd-shared-252.so");
    assert_eq!(systemd_version(&root), Some(252));
    create("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-254.so");
    assert_eq!(systemd_version(&root), Some(254));
    create("usr/lib64/systemd/libsystemd-shared-257.7-1.fc42.so");
    assert_eq!(systemd_version(&root), Some(257));
    create("usr/lib/systemd/libsystemd-shared-258~rc1.so");
    assert_eq!(systemd_version(&root), Some(258));
    fs::remove_dir_all(root).unwrap();
}
