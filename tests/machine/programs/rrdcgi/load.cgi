#!/usr/bin/rrdcgi
<html><body>
<h1>Load of <RRD::CV host></h1>
<RRD::GRAPH /srv/graphs/load.png
	--imginfo "/graphs/%s %lu %lu"
	--start 1580644800 --end 1580648400
	DEF:load=/srv/load.rrd:load:AVERAGE
	LINE1:load#ff0000:load>
</body></html>
