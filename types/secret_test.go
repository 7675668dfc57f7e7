// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

// planted is what must not show. It is long enough to be cut in the middle.
const planted = "hunter2-hunter2"

// A picky type refuses everything, and repeats what it refuses.
type picky struct{}

func (p *picky) UnmarshalText(text []byte) error { return errors.New("no such thing: " + string(text)) }

// A pickyCoded type does so with a code and a path.
type pickyCoded struct{}

func (p *pickyCoded) UnmarshalJSON(data []byte) error {
	return types.NewError(types.ErrInvalidNetworkConfig, "refused: "+string(data), errors.New(string(data)))
}

// A secretive is a configuration with secrets in it.
type secretive struct {
	Password    int               `json:"password"`
	APIKey      picky             `json:"apiKey"`
	ClientKey   pickyCoded        `json:"client-key-data"`
	Token       types.MAC         `json:"TOKEN"`
	Map         map[string]int    `json:"map"`
	Lists       map[string][]bool `json:"lists"`
	Credentials struct {
		User int   `json:"user"`
		List []int `json:"list"`
		Deep struct {
			X picky `json:"x"`
		} `json:"deep"`
	} `json:"credentials"`
	Plain   picky         `json:"plain"`
	Coded   level         `json:"coded"`
	Number  float64       `json:"number"`
	Aliases types.Aliases `json:"aliases"`
}

// ERR-025: the value of a key that looks like that of a secret is never shown.
func TestSecrets_Keys(t *testing.T) {
	t.Parallel()
	tests := []struct{ member, path string }{
		{`"password":"PLANTED"`, "password"},
		{`"PassWord":"PLANTED"`, "PassWord"},
		{`"password":["PLANTED"]`, "password"},
		{`"apiKey":"PLANTED"`, "apiKey"},
		{`"client-key-data":"PLANTED"`, "client-key-data"},
		{`"client-key-data":{"x":"PLANTED"}`, "client-key-data"},
		{`"TOKEN":"PLANTED"`, "TOKEN"},
		{`"map":{"db.password":"PLANTED"}`, "map.db.password"},
		{`"lists":{"Tokens":[true,"PLANTED"]}`, "lists.Tokens[1]"},
		{`"aliases":{"token":["a",["PLANTED"]]}`, "aliases.token[1]"},
		{`"aliases":{"token":"PLANTED"}`, "aliases.token"},
		{`"credentials":"PLANTED"`, "credentials"},
		{`"credentials":{"user":"PLANTED"}`, "credentials.user"},
		{`"credentials":{"list":[1,"PLANTED"]}`, "credentials.list[1]"},
		{`"credentials":{"deep":{"x":"PLANTED"}}`, "credentials.deep.x"},
	}
	for _, tt := range tests {
		t.Run(tt.member, func(t *testing.T) {
			t.Parallel()
			c := configOf(t, ","+strings.ReplaceAll(tt.member, "PLANTED", planted))
			errs := append(c.DecodeLenient(&secretive{}), c.Decode(&secretive{}), c.DecodeStrict(&secretive{}))
			if len(errs) != 3 {
				t.Fatalf("errors = %q, want three", errs)
			}
			for _, err := range errs {
				hides(t, err)
				if !strings.HasPrefix(err.Error(), tt.path+": (not shown) is not valid") {
					t.Errorf("error = %v, want the path %s and that the value is not shown", err, tt.path)
				}
			}
		})
	}
}

// hides checks that an error does not say what is planted, nor a part of it.
func hides(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	var e *types.Error
	if errors.As(err, &e) {
		text += string(e.Encode())
	}
	if strings.Contains(text, planted[:7]) {
		t.Errorf("the error shows the secret: %s", text)
	}
}

// An unknown key that looks like that of a secret is named, and its value is not; nor
// is an object that has one. CONF-032, ERR-025.
func TestSecrets_UnknownKeys(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		`"accessToken":"` + planted + `"`:                                 "accessToken: unknown key, with the value (not shown)",
		`"accessToken":{"x":"` + planted + `"}`:                           "accessToken: unknown key, with the value (not shown)",
		`"vendor":{"a":[{"secret":"` + planted + `"}]}`:                   "vendor: unknown key, with the value {…}",
		`"credentials":{"who":"` + planted + `"}`:                         "credentials.who: unknown key, with the value (not shown)",
		`"vendor":{"a": [1, "x"]}`:                                        `vendor: unknown key, with the value {"a":[1,"x"]}`,
		`"vendor":["` + strings.Repeat("é", 100) + planted + `"]`:         `vendor: unknown key, with the value ["é`,
		`"` + strings.Repeat("v", 300) + `":1`:                            `vvv`,
		`"vendor":"` + strings.Repeat("x", 70) + planted + `"`:            `vendor: unknown key, with the value "xxx`,
		`"vendor":{"a":"b","password":null,"secretName":{}}`:              `vendor: unknown key, with the value {"a":"b","password":null,"secretName":{}}`,
		`"vendor":{"a":"b","keys":[["` + planted + `"]]}`:                 "vendor: unknown key, with the value {…}",
		`"vendor":{"a":"b","pin-key":12345678,"x":"` + planted[:7] + `"}`: "vendor: unknown key, with the value {…}",
	} {
		err := configOf(t, ","+member).DecodeStrict(&secretive{})
		hides(t, err)
		if !errors.Is(err, types.ErrUnsupportedField) || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("DecodeStrict of %s = %v, want %q in it, and not much more", member, err, want)
		}
	}
}

// The value that is blamed is shown, and cut; what its type says of it is cut too.
func TestSecrets_Blamed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 5000)
	for member, want := range map[string]string{
		`"plain":"5"`:                 "plain: \"5\" is not valid: no such thing: 5",
		`"plain":"` + long + `"`:      "plain: \"xxx",
		`"number":"` + long + `"`:     "number: \"xxx",
		`"monkeys":5`:                 "",
		`"runtimeConfig":"` + long:    "",
		`"dns":{"domain":["` + long:   "",
		`"ipam":{"type":"a/` + long:   "",
		`"type":"` + long + `","a":"`: "",
	} {
		if want == "" {
			continue
		}
		err := configOf(t, ","+member).Decode(&secretive{})
		if err == nil || !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 400 {
			t.Errorf("Decode = %v, want %q… of at most 400 bytes", err, want)
		}
	}
	for _, doc := range []string{
		`{"name":"` + long + `/"}`, `{"name":"n","cniVersion":"` + long + `"}`, `"` + long + `"`,
		`{"name":"n","` + long + `"}`, `{"name":{"x":"` + long + `"}}`,
	} {
		if _, err := types.ParsePluginConfig([]byte(doc)); err == nil || len(err.Error()) > 300 {
			t.Errorf("ParsePluginConfig(%.30s…) = %v, want an error of at most 300 bytes", doc, err)
		}
	}
}

// A capability that is declared wrongly, on the runtime's side.
func TestSecrets_Capabilities(t *testing.T) {
	t.Parallel()
	_, err := types.ParseNetwork([]byte(list("n", `,"plugins":[{"type":"t","capabilities":{"authToken":"`+planted+`"}}]`)))
	hides(t, err)
	if !strings.Contains(err.Error(), "plugins[0].capabilities.authToken: (not shown) is not valid") {
		t.Errorf("ParseNetwork = %v, want the path", err)
	}
}

// CNI_ARGS has secrets too. ARG-008, ERR-025
func TestSecrets_Args(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"API_TOKEN=abc;" + planted,
		"API_TOKEN=abc;;" + planted + ";A=b",
		"PASSWORD==;=" + planted,
		"A=" + planted + ";PASSWORD=1;B",
	} {
		_, err := types.ParseArgs(args)
		hides(t, err)
		if !strings.HasPrefix(err.Error(), "CNI_ARGS: ") || !strings.Contains(err.Error(), "is no pair; want KEY=VALUE") {
			t.Errorf("ParseArgs(%q) = %v", args, err)
		}
	}
	var fields struct {
		Password int   `args:"PASSWORD"`
		Pin      bool  `args:"PIN_KEY"`
		Token    picky `args:"TOKEN"`
	}
	for key := range map[string]bool{"PASSWORD": true, "PIN_KEY": true, "TOKEN": true, "OTHER": true, "OTHER_SECRET": true} {
		err := types.Args{key: planted}.Decode(&fields)
		hides(t, err)
		if !errors.Is(err, types.ErrInvalidEnvironmentVariables) || !strings.Contains(err.Error(), key) {
			t.Errorf("Decode with %s = %v, want code 4 and the key", key, err)
		}
	}
	many := types.Args{}
	for i := range 1000 {
		many["K"+strconv.Itoa(i)] = planted
	}
	if err := many.Decode(&fields); err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), "and 992 more") {
		t.Errorf("Decode of a thousand unknown keys = %v, want some of them", err)
	}
	var number struct{ N int8 }
	if err := (types.Args{"N": strings.Repeat("x", 5000)}).Decode(&number); err == nil || len(err.Error()) > 300 {
		t.Errorf("Decode of a long value = %v, want at most 300 bytes", err)
	}
}

// ERR-025
func TestCall_Redact(t *testing.T) {
	t.Parallel()
	call := types.Call{
		Environ: []string{"PATH=/bin", "E", "EMPTY=", "SHORT=", "CNI_COMMAND=ADD", "CNI_NETNS=/run/netns/x", "CNI_ARGS=K8S_POD_NAME=web;TOKEN=in-args;rest-of-it;A=b", "DB_PASSWORD=from-env", "PLAIN=whole-pair"},
		Stdin: []byte(`{"name":"net","Password":"line\none","apiKey":"abc","pinKey":12345,"credentials":{"list":[{"user":"in-deep","ok":true}]},
			"plain":"stays","secret":"été <b>","nested":[{"authToken":"` + planted + `"},{"authToken":"` + planted + ` and more"}]}`),
	}
	for text, want := range map[string]string{
		"":                                 "",
		"nothing in it: net stays abc web": "nothing in it: net stays abc web",
		"netns /run/netns/x ADD /bin":      "netns /run/netns/x ADD /bin",
		"x" + planted + "y":                "x(not shown)y",
		planted + " and more":              "(not shown)",
		"line\none":                        "(not shown)",
		`"line\none"`:                      `"(not shown)"`,
		"été <b>, " + strconv.QuoteToASCII("été <b>"): `(not shown), "(not shown)"`,
		"in-deep 12345 in-args":                       "(not shown) (not shown) (not shown)",
		"rest-of-it from-env":                         "(not shown) (not shown)",
		"PLAIN=whole-pair":                            "(not shown)",
		"whole-pair":                                  "whole-pair",
		"CNI_ARGS=K8S_POD_NAME=web;TOKEN=in-args;rest-of-it;A=b": "CNI_ARGS=(not shown)",
	} {
		if got := call.Redact(text); got != want {
			t.Errorf("Redact(%q) = %q, want %q", text, got, want)
		}
	}
	for _, stdin := range []string{"", "{", `{"password":"` + planted, "null", `"x"`} {
		if got := (types.Call{Stdin: []byte(stdin)}).Redact("text"); got != "text" {
			t.Errorf("Redact with the request %q = %q, want the text", stdin, got)
		}
	}
}

// A place is a value in a document, with the path that errors call it by.
type place struct {
	path   string
	secret bool
	set    func(any)
}

// places lists the values below v. It passes over keys that a path cannot give as they
// are, or that differ from another one in case only: then only one of them counts.
func places(v any, path string, secret bool, set func(any)) []place {
	all := []place{{path, secret, set}}
	switch v := v.(type) {
	case map[string]any:
		seen := map[string]int{}
		for key := range v {
			seen[strings.ToLower(key)]++
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			e := v[key]
			if seen[strings.ToLower(key)] == 1 && key != "" && strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz0123456789-_") == "" && len(key) < 60 {
				at := strings.TrimPrefix(path+"."+key, ".")
				all = append(all, places(e, at, secret || types.IsSecret(key), func(x any) { v[key] = x })...)
			}
		}
	case []any:
		for i, e := range v {
			all = append(all, places(e, fmt.Sprintf("%s[%d]", path, i), secret, func(x any) { v[i] = x })...)
		}
	}
	return all
}

// FuzzSecrets plants a secret at any place of a request. An error that says it blames
// that place, and does not look like that of a secret; and it is short.
func FuzzSecrets(f *testing.F) {
	for _, doc := range append(jsonDocs(), string(benchRequest()),
		`{"name":"n","password":1,"credentials":{"user":1,"list":[1],"deep":{"x":1}},"map":{"a.key":1,"b":2},"args":{"cni":{"token":1}},"TOKEN":"x"}`,
		`{"cniVersion":"1.1.0","name":"n","runtimeConfig":{"aliases":{"token":["a"],"b":["c"]},"portMappings":[{"hostPort":1,"containerPort":2,"protocol":"tcp"},{"hostPort":1,"containerPort":3}],"ipRanges":[[{"subnet":"10.0.0.0/8"}]],"authToken":1}}`,
	) {
		for i := range uint(12) {
			f.Add([]byte(doc), i, i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint, long bool) {
		var doc any
		if json.Unmarshal(data, &doc) != nil {
			return
		}
		all := places(doc, "", false, func(x any) { doc = x })
		p := all[at%uint(len(all))]
		token := planted
		if long {
			token += strings.Repeat("-hunter2", 1000)
		}
		p.set(token)
		request, err := json.Marshal(doc)
		if err != nil {
			t.Skip(err)
		}
		for _, err := range errorsOf(request) {
			var e *types.Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is no *types.Error", err)
			}
			text := string(e.Encode())
			if !strings.Contains(text, "hunter2") {
				continue
			}
			blamed := strings.HasPrefix(strings.ToLower(e.Msg), strings.ToLower(p.path)) // keys match so
			if key, _, unknown := strings.Cut(e.Msg, ": unknown key, with the value "); unknown {
				blamed = strings.HasPrefix(p.path, key)
			}
			if p.secret || !blamed || long && len(text) > 1000 {
				t.Errorf("the value of %q shows in an error: %s\n%s", p.path, text, request)
			}
		}
	})
}

// errorsOf returns all that is wrong with a request.
func errorsOf(request []byte) []error {
	c, err := types.ParsePluginConfig(request)
	if err != nil {
		return []error{err}
	}
	var errs []error
	_, err = c.PrevResult()
	errs = append(errs, err)
	_, err = c.ValidAttachments()
	errs = append(errs, err)
	for _, v := range []any{&conf{}, &secretive{}, &capabilityConf{}} {
		errs = append(append(errs, c.Decode(v), c.DecodeStrict(v)), c.DecodeLenient(v)...)
	}
	var caps types.RuntimeConfig
	for name := range c.RuntimeConfig {
		if target := targetOf(&caps, name); target != nil {
			_, err := c.Capability(name, target)
			errs = append(errs, err)
		}
		var number int
		_, err := c.Capability(name, &number)
		errs = append(errs, err)
	}
	var found []error
	for _, err := range errs {
		if err != nil {
			found = append(found, err)
		}
	}
	return found
}
