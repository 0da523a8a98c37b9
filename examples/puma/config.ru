# A Rack application: says its version.
run ->(_env) { [200, { "content-type" => "text/plain" }, ["puma, version #{ENV.fetch("VERSION")}\n"]] }
