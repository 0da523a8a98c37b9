//! The commands in docs/how-to of languages and databases, with Debian's packages.

use conductor_machine::machine::Machine;

use super::manual::follow;
use crate::scenario::scenarios;

scenarios!("stacks" with Servers:
    python(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/python.md"))),
    node(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/node.md"))),
    ruby(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/ruby.md"))),
    php(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/php.md"))),
    cgi_php(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/cgi-php.md"))),
    ci(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/ci.md"))),
    several_hosts(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/several-hosts.md"))),
    programs(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/programs.md"))),
    java(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/java.md"))),
    static_sites(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/static.md"))),
    postgresql(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/postgresql.md"))),
    mariadb(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/mariadb.md"))),
    dns(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/dns.md"))),
    redis(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/redis.md"))),
);
