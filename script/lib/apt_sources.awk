# Reads apt's sources, one-line (.list) and deb822 (.sources), and prints "RANK URI KEYRING" for
# every enabled binary entry with the host's own suite and component main. Lower ranks come first:
# 0 signed by Debian's keyring, 1 a path that ends in /debian, 2 anything else.

function consider(uris, suites, components, keyring,    n, i, list, rank) {
	if ((" " suites " ") !~ ("[ /]" codename " ")) return
	if ((" " components " ") !~ / main /) return
	if (keyring == "" || keyring !~ /^\//) keyring = "-"
	n = split(uris, list, /[ \t]+/)
	for (i = 1; i <= n; i++) {
		if (list[i] == "" || list[i] ~ /^cdrom:/) continue
		rank = keyring ~ /debian-archive/ ? 0 : list[i] ~ /\/debian\/?$/ ? 1 : 2
		print rank, list[i], keyring
	}
}

function flush_stanza() {
	if (field["types"] ~ /(^| )deb( |$)/ && tolower(field["enabled"]) !~ /^(no|false|0)$/)
		consider(field["uris"], field["suites"], field["components"], field["signed-by"])
	split("", field)
	name = ""
}

function trim(text) { gsub(/^[ \t]+|[ \t\r]+$/, "", text); gsub(/[ \t]+/, " ", text); return text }

FNR == 1 { flush_stanza(); deb822 = FILENAME ~ /\.sources$/ }

# Apt reads no file with another ending, such as .disabled or .save.
FILENAME !~ /\.(list|sources)$/ { next }

/^[ \t]*#/ { next }

deb822 && /^[ \t]*$/ { flush_stanza(); next }

deb822 && /^[ \t]/ { if (name != "") field[name] = trim(field[name] " " $0); next }

deb822 {
	colon = index($0, ":")
	name = tolower(trim(substr($0, 1, colon - 1)))
	field[name] = trim(substr($0, colon + 1))
	next
}

$1 == "deb" {
	line = $0
	sub(/#.*/, "", line)
	keyring = ""
	if (match(line, /\[[^]]*\]/)) {
		options = substr(line, RSTART + 1, RLENGTH - 2)
		line = substr(line, 1, RSTART - 1) " " substr(line, RSTART + RLENGTH)
		if (match(tolower(options), /signed-by=[^ \t]+/))
			keyring = substr(options, RSTART + 10, RLENGTH - 10)
	}
	count = split(trim(line), word, " ")
	components = ""
	for (i = 4; i <= count; i++) components = components " " word[i]
	consider(word[2], word[3], trim(components), keyring)
}

END { flush_stanza() }
