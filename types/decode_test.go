// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

// A level is a string type with a reader of its own.
type level string

func (l *level) UnmarshalText(text []byte) error {
	if string(text) == "bad" {
		return errors.New("no such level")
	}
	*l = level(text)
	return nil
}

// A loud type has a reader of its own that says a code.
type loud struct{ Kept string }

func (l *loud) UnmarshalJSON(data []byte) error {
	if string(data) == `"quiet"` {
		return types.NewError(types.ErrUnsupportedField, "too quiet", nil)
	}
	l.Kept = string(data)
	return nil
}

type Embedded struct {
	InEmbedded int `json:"inEmbedded"`
}

// A conf has every kind of field.
type conf struct {
	*Embedded
	Bridge   string           `json:"bridge"`
	MTU      uint16           `json:"mtu"`
	Signed   int8             `json:"signed"`
	On       bool             `json:"on"`
	Ratio    float64          `json:"ratio"`
	Untagged string           //
	BadTag   string           `json:"section §"` // no name that package json takes
	Ignored  string           `json:"-"`
	List     []entry          `json:"list"`
	Array    [2]int           `json:"array"`
	Map      map[string]entry `json:"map"`
	Pointer  *entry           `json:"pointer"`
	Any      any              `json:"any"`
	Raw      json.RawMessage  `json:"raw"`
	Level    level            `json:"level"`
	Loud     loud             `json:"loud"`
	When     time.Time        `json:"when"`
	DNS      types.DNS        `json:"dns"`
	IPAM     struct {
		Type   string `json:"type"`
		Subnet string `json:"subnet"`
	} `json:"ipam"`
	RuntimeConfig struct {
		MAC  types.MAC `json:"mac"`
		Size int8      `json:"size"`
	} `json:"runtimeConfig"`
}

type entry struct {
	Key   string  `json:"key"`
	Count int     `json:"count"`
	Next  *entry  `json:"next"`
	Sub   []entry `json:"sub"`
}

func configOf(t *testing.T, members string) *types.PluginConfig {
	t.Helper()
	c, err := types.ParsePluginConfig([]byte(`{"cniVersion":"1.1.0","name":"n","type":"t"` + members + `}`))
	if err != nil {
		t.Fatalf("ParsePluginConfig(%s) = %v, want nil", members, err)
	}
	return c
}

func TestPluginConfig_Decode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		members string
		want    conf
	}{
		{"nothing", ``, conf{}},
		{"fields", `,"bridge":"b","mtu":9000,"signed":-128,"on":true,"ratio":0.5,"untagged":"u","inEmbedded":5,"array":[1,2],"level":"l","loud":[1]`,
			conf{Embedded: &Embedded{5}, Bridge: "b", MTU: 9000, Signed: -128, On: true, Ratio: 0.5, Untagged: "u", Array: [2]int{1, 2}, Level: "l", Loud: loud{"[1]"}}},
		{"nulls", `,"bridge":null,"mtu":null,"list":null,"map":null,"pointer":null,"ipam":null,"runtimeConfig":null`, conf{}},
		// CONF-045, AMB-022
		{"other case", `,"BRIDGE":"b","Mtu":1`, conf{Bridge: "b", MTU: 1}},
		{"exact spelling wins before", `,"bridge":"exact","BRIDGE":"other"`, conf{Bridge: "exact"}},
		{"exact spelling wins behind", `,"BRIDGE":"other","bridge":"exact"`, conf{Bridge: "exact"}},
		{"a wrong type under another spelling", `,"bridge":"exact","BRIDGE":5,"mtu":1,"MTU":{"x":[]}`, conf{Bridge: "exact", MTU: 1}},
		{"exact null wins", `,"BRIDGE":"other","bridge":null`, conf{}},
		{"exact with an escape", `,"\u0062ridge":"exact","BRIDGE":"other"`, conf{Bridge: "exact"}},
		{"a fold beyond ASCII", `,"mtu":1,"list":[{"key":"exact","` + "\u212a" + `ey":"other"}]`, conf{MTU: 1, List: []entry{{Key: "exact"}}}},
		{"a fold beyond ASCII at the root", `,"li` + "\u017f" + `t":[{"key":"k"}]`, conf{List: []entry{{Key: "k"}}}},
		{"a tag that is no name", `,"section §":"no","badTag":"b"`, conf{BadTag: "b"}},
		{"deep inside", `,"list":[{"key":"exact","KEY":"other","next":{"count":1,"COUNT":2}}],"map":{"a":{"Key":"other","key":"exact"},"A":{"key":"two"}},"pointer":{"Sub":[5],"sub":[{"key":"k","Key":1}]}`,
			conf{List: []entry{{Key: "exact", Next: &entry{Count: 1}}}, Map: map[string]entry{"a": {Key: "exact"}, "A": {Key: "two"}}, Pointer: &entry{Sub: []entry{{Key: "k"}}}}},
		// AMB-023
		{"last of equals", `,"bridge":"a","bridge":"b"`, conf{Bridge: "b"}},
		{"last of equals in other case", `,"BRIDGE":"a","Bridge":"b"`, conf{Bridge: "b"}},
		{"any and raw are left alone", `,"any":{"a":1,"A":2},"raw":{"a": 1,"A":2}`, conf{Any: map[string]any{"a": 1.0, "A": 2.0}, Raw: json.RawMessage(`{"a": 1,"A":2}`)}},
		{"a type that reads itself", `,"loud":{"kept":1,"Kept":2},"mtu":1,"MTU":2`, conf{Loud: loud{`{"kept":1,"Kept":2}`}, MTU: 1}},
		{"unknown members", `,"x":1,"X":2,"x-y":{}`, conf{}},
		{"protocol members", `,"dns":{"domain":"d"},"ipam":{"type":"i","subnet":"s"}`, conf{DNS: types.DNS{Domain: "d"}, IPAM: struct {
			Type   string `json:"type"`
			Subnet string `json:"subnet"`
		}{"i", "s"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := configOf(t, tt.members)
			raw := string(c.Raw)
			var got conf
			if err := c.Decode(&got); err != nil {
				t.Fatalf("Decode = %v, want nil", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Decode mismatch (-want +got):\n%s", diff)
			}
			if string(c.Raw) != raw {
				t.Errorf("Decode changed Raw to %s", c.Raw)
			}
			var lenient conf
			if bad := c.DecodeLenient(&lenient); bad != nil || !cmp.Equal(lenient, tt.want) {
				t.Errorf("DecodeLenient = %v, %+v, want the same", bad, lenient)
			}
		})
	}
}

// Of two wrong members the error is about one, and says nothing of the other: ERR-025.
func TestPluginConfig_Decode_twoWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		members string
		want    string
	}{
		{`,"on":"x","when":"yesterday"`, `on: "x" is not valid; want true or false`},
		{`,"when":"yesterday","on":"x"`, `when: parsing time "yesterday"`},
		{`,"list":[{"count":"x"}],"loud":"quiet"`, `list[0].count: "x" is not valid; want an integer`},
	} {
		c := configOf(t, tt.members)
		for name, err := range map[string]error{"Decode": c.Decode(&conf{}), "DecodeStrict": c.DecodeStrict(&conf{}), "DecodeLenient": c.DecodeLenient(&conf{})[0]} {
			var e *types.Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.Msg, tt.want) || e.Details != "" {
				t.Errorf("%s(%s) = %v, want %s", name, tt.members, err, tt.want)
			}
		}
	}
}

func TestPluginConfig_Decode_Errors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		members string
		code    types.Code
		want    string
	}{
		// ERR-014: another JSON type.
		{`,"bridge":5`, types.ErrDecodingFailure, `bridge: 5 is not valid; want a string`},
		{`,"BRIDGE":5`, types.ErrDecodingFailure, `BRIDGE: 5 is not valid; want a string`},
		{`,"mtu":"1500"`, types.ErrDecodingFailure, `mtu: "1500" is not valid; want an unsigned integer of at most 16 bits`},
		{`,"mtu":1.5`, types.ErrDecodingFailure, `mtu: 1.5 is not valid; want an unsigned integer`},
		{`,"mtu":1e3`, types.ErrDecodingFailure, `mtu: 1e3 is not valid`},
		{`,"on":"true"`, types.ErrDecodingFailure, `on: "true" is not valid; want true or false`},
		{`,"ratio":"x"`, types.ErrDecodingFailure, `ratio: "x" is not valid; want a number`},
		{`,"list":{}`, types.ErrDecodingFailure, `list: {} is not valid; want an array`},
		{`,"list":[{"key":"a"},5]`, types.ErrDecodingFailure, `list[1]: 5 is not valid; want an object`},
		{`,"list":[{"sub":[{},{"sub":[{"count":[]}]}]}]`, types.ErrDecodingFailure, `list[0].sub[1].sub[0].count: [] is not valid; want an integer`},
		{`,"map":{"a b":{"count":"x"}}`, types.ErrDecodingFailure, `map."a b".count: "x" is not valid`},
		{`,"map":[]`, types.ErrDecodingFailure, `map: [] is not valid; want an object`},
		{`,"pointer":{"next":{"next":5}}`, types.ErrDecodingFailure, `pointer.next.next: 5 is not valid; want an object`},
		{`,"inEmbedded":"x"`, types.ErrDecodingFailure, `inEmbedded: "x" is not valid; want an integer`},
		{`,"level":5`, types.ErrDecodingFailure, `level: 5 is not valid; want a string`},
		{`,"array":["x",2]`, types.ErrDecodingFailure, `array[0]: "x" is not valid`},
		// ERR-015: the right JSON type, and a wrong value.
		{`,"mtu":70000`, types.ErrInvalidNetworkConfig, `mtu: 70000 is not valid; want an unsigned integer of at most 16 bits`},
		{`,"mtu":-1`, types.ErrInvalidNetworkConfig, `mtu: -1 is not valid`},
		{`,"signed":-129`, types.ErrInvalidNetworkConfig, `signed: -129 is not valid; want an integer of at most 8 bits`},
		{`,"level":"bad"`, types.ErrInvalidNetworkConfig, `level: "bad" is not valid: no such level`},
		{`,"when":"yesterday"`, types.ErrInvalidNetworkConfig, `when: parsing time "yesterday"`},
		// A type that says its own code keeps it.
		{`,"loud":"quiet"`, types.ErrUnsupportedField, `loud: too quiet`},
		// CAP-004: whatever is wrong inside runtimeConfig.
		{`,"runtimeConfig":{"size":"x"}`, types.ErrInvalidNetworkConfig, `runtimeConfig.size: "x" is not valid`},
		{`,"RuntimeConfig":{"MAC":5}`, types.ErrInvalidNetworkConfig, `RuntimeConfig.MAC: 5 is not valid; want a string`},
		// The error is about the value that counts.
		{`,"mtu":"exact","MTU":5`, types.ErrDecodingFailure, `mtu: "exact" is not valid`},
		{",\"bridge\":{\n\t\"a\":   1}", types.ErrDecodingFailure, `bridge: {…} is not valid`},
	}
	for _, tt := range tests {
		t.Run(tt.members, func(t *testing.T) {
			t.Parallel()
			c := configOf(t, tt.members)
			wantError(t, "Decode", c.Decode(&conf{}), tt.code, tt.want)
			wantError(t, "DecodeStrict", c.DecodeStrict(&conf{}), tt.code, tt.want)
			bad := c.DecodeLenient(&conf{})
			if len(bad) != 1 {
				t.Fatalf("DecodeLenient = %q, want one error", bad)
			}
			wantError(t, "DecodeLenient", bad[0], tt.code, tt.want)
		})
	}
}

// Addresses are what plugins read most, and whoever writes them need not know Go.
func TestPluginConfig_Decode_Addresses(t *testing.T) {
	t.Parallel()
	for members, want := range map[string]string{
		`,"addr":"010.0.0.1"`:                              `addr: "010.0.0.1" is not an address; want one such as "10.0.0.1"`,
		`,"prefixes":["10.0.0.0/24","10.0.0.0/33"]`:        `prefixes[1]: "10.0.0.0/33" is not an address with prefix length; want one such as "10.0.0.0/24"`,
		`,"secretAddr":"x"`:                                `secretAddr: (not shown) is not valid`,
		`,"prefixes":["` + strings.Repeat("x", 500) + `"]`: `is not an address with prefix length`,
	} {
		var conf struct {
			Addr       netip.Addr     `json:"addr"`
			SecretAddr netip.Addr     `json:"secretAddr"`
			Prefixes   []netip.Prefix `json:"prefixes"`
		}
		err := configOf(t, members).Decode(&conf)
		wantError(t, "Decode", err, types.ErrInvalidNetworkConfig, want)
		if strings.Contains(err.Error(), "Parse") || len(err.Error()) > 200 {
			t.Errorf("Decode(%.80s) = %v, want no words of package netip, and a short text", members, err)
		}
	}
}

// The whole document may have a type of its own.
type rootReader struct{ err error }

func (r *rootReader) UnmarshalJSON([]byte) error { return r.err }

func TestPluginConfig_Decode_Root(t *testing.T) {
	t.Parallel()
	c := configOf(t, ``)
	wantError(t, "Decode", c.Decode(&rootReader{errors.New("not mine")}), types.ErrInvalidNetworkConfig, "the document: ", "not mine")
	wantError(t, "Decode", c.Decode(&rootReader{types.NewError(types.ErrTryAgainLater, "busy", nil)}), types.ErrTryAgainLater, "busy")
	wantError(t, "Decode", c.Decode(&[]int{}), types.ErrDecodingFailure, `the document: {…} `, "want an array")
	var m map[string]int
	wantError(t, "Decode", c.Decode(&m), types.ErrDecodingFailure, `cniVersion: "1.1.0" is not valid; want an integer`)
	var r types.Result // reads itself
	if err := c.Decode(&r); err != nil {
		t.Errorf("Decode(Result) = %v, want nil", err)
	}
	wantError(t, "Decode", configOf(t, `,"ips":[5]`).Decode(&r), types.ErrDecodingFailure, `ips[0]: 5 is not valid`)
}

// CONF-031, CONF-032, ERR-009
func TestPluginConfig_DecodeStrict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		members string
		want    []string // nil: valid
	}{
		{``, nil},
		{`,"bridge":"b","MTU":1,"inEmbedded":1,"untagged":"x"`, nil},
		{`,"args":{"cni":{}},"ipMasq":true,"capabilities":{},"prevResult":{},"disableCheck":true,"disableGC":true,"cni.dev/valid-attachments":[],"cni.dev/x":1`, nil},
		{`,"any":{"x":1},"raw":{"x":1},"loud":{"x":1},"map":{"x":{}},"when":"2024-01-01T00:00:00Z","dns":{"x":1}`, nil},
		{`,"mut":1500`, []string{`mut: unknown key, with the value 1500; the nearest known key is "mtu"`}},
		{`,"Brigde":"b"`, []string{`Brigde: unknown key, with the value "b"; the nearest known key is "bridge"`}},
		{`,"x-cnitest":{"a":[1,2]}`, []string{`x-cnitest: unknown key, with the value {"a":[1,2]}`}},
		{`,"list":[{"key":"a"},{"cuont":1}]`, []string{`list[1].cuont: unknown key, with the value 1; the nearest known key is "count"`}},
		{`,"map":{"a":{"name":1}}`, []string{`map.a.name: unknown key`}},
		{`,"pointer":{"next":{"sub":[{"kye":null}]}}`, []string{`pointer.next.sub[0].kye: unknown key, with the value null`}},
		{`,"ipam":{"type":"i","subnets":"s"}`, []string{`ipam.subnets: unknown key, with the value "s"; the nearest known key is "subnet"`}},
		{`,"Ignored":"x"`, []string{`Ignored: unknown key`}},
		{`,"` + strings.Repeat("k", 1000) + `":1`, []string{`kkk"…: unknown key`}},
		{`,".a":1`, []string{`".a": unknown key`}},
		{`,"":1`, []string{`"": unknown key`}},
		{`,"a\nb":1`, []string{`"a\nb": unknown key`}},
	}
	for _, tt := range tests {
		t.Run(tt.members[:min(len(tt.members), 50)], func(t *testing.T) {
			t.Parallel()
			err := configOf(t, tt.members).DecodeStrict(&conf{})
			if tt.want == nil {
				if err != nil {
					t.Errorf("DecodeStrict = %v, want nil", err)
				}
				return
			}
			wantError(t, "DecodeStrict", err, types.ErrUnsupportedField, tt.want...)
			if len(err.Error()) > 500 {
				t.Errorf("DecodeStrict = %d bytes of error, want few", len(err.Error()))
			}
		})
	}
	err := configOf(t, `,"x-cnitest":1`).DecodeStrict(&conf{})
	if strings.Contains(fmt.Sprint(err), "nearest") {
		t.Errorf("DecodeStrict = %v, want no suggestion for a key that is like no other", err)
	}
}

// A checked configuration has a check of its own.
type checked struct {
	Port int `json:"port"`
	err  error
}

func (c *checked) Validate() error { return c.err }

func TestPluginConfig_Decode_Validate(t *testing.T) {
	t.Parallel()
	c := configOf(t, `,"port":1`)
	if err := c.Decode(&checked{}); err != nil {
		t.Errorf("Decode = %v, want nil", err)
	}
	cause := errors.New("port: 1 is taken")
	for name, decode := range map[string]func(any) error{"Decode": c.Decode, "DecodeStrict": c.DecodeStrict} {
		err := decode(&checked{err: cause})
		wantError(t, name, err, types.ErrInvalidNetworkConfig, "port: 1 is taken")
		if !errors.Is(err, cause) || err.Error() != cause.Error() {
			t.Errorf("%s = %v, want the cause, once", name, err)
		}
		busy := types.NewError(types.ErrTryAgainLater, "busy", nil)
		if err := decode(&checked{err: fmt.Errorf("x: %w", busy)}); !errors.Is(err, types.ErrTryAgainLater) || errors.Is(err, types.ErrInvalidNetworkConfig) {
			t.Errorf("%s = %v, want its own code", name, err)
		}
	}
	// DEL-026: a configuration that ADD would refuse.
	if bad := c.DecodeLenient(&checked{err: cause}); bad != nil {
		t.Errorf("DecodeLenient = %v, want nil", bad)
	}
}

// DEL-026
func TestPluginConfig_DecodeLenient(t *testing.T) {
	t.Parallel()
	const members = `,"bridge":5,"mtu":1500,"list":[{"key":"a","count":"x"},7,{"key":"b"}],"level":"bad","dns":{"search":["a"]},"runtimeConfig":{"mac":"zz","size":5},"BRIDGE":{},"pointer":[]`
	c := configOf(t, members)
	got := conf{Bridge: "from before"}
	bad := c.DecodeLenient(&got)
	want := conf{Bridge: "from before", MTU: 1500, List: []entry{{Key: "a"}, {}, {Key: "b"}}, DNS: types.DNS{Search: []string{"a"}}}
	want.RuntimeConfig.Size = 5
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DecodeLenient mismatch (-want +got):\n%s", diff)
	}
	var paths []string
	for _, err := range bad {
		path, _, _ := strings.Cut(err.Error(), ": ")
		paths = append(paths, path)
	}
	if wantPaths := []string{"bridge", "list[0].count", "list[1]", "level", "runtimeConfig.mac", "pointer"}; !slices.Equal(paths, wantPaths) {
		t.Errorf("DecodeLenient passed over %q, want %q", paths, wantPaths)
	}
	// What cannot be read at all leaves nothing.
	if bad := c.DecodeLenient(&rootReader{errors.New("not mine")}); len(bad) != 1 {
		t.Errorf("DecodeLenient = %v, want one error", bad)
	}
	// A hostile configuration ends, with nothing read.
	many := configOf(t, `,"bridge":"b","map":{`+strings.TrimSuffix(strings.Repeat(`"a":{"count":"x"},`, 500), ",")+`}`)
	got = conf{MTU: 7}
	if bad := many.DecodeLenient(&got); len(bad) != 100 || !reflect.DeepEqual(got, conf{MTU: 7}) {
		t.Errorf("DecodeLenient = %d errors, %+v, want 100 and the value as it was", len(bad), got)
	}
}

// A self is embedded in itself.
type Self struct {
	*Self
	A int `json:"a"`
}

func TestPluginConfig_Decode_Recursive(t *testing.T) {
	t.Parallel()
	var s Self
	wantError(t, "Decode", configOf(t, `,"a":"x"`).Decode(&s), types.ErrDecodingFailure, `a: "x" `)
	wantError(t, "DecodeStrict", configOf(t, `,"b":"x"`).DecodeStrict(&s), types.ErrUnsupportedField, `b: unknown key`)
}

// A document full of one key in many spellings is read in time that grows with
// its size and not with the square of it.
func TestPluginConfig_Decode_ManyTwins(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("reads 512 KiB")
	}
	c := configOf(t, `,"mtu":1`+strings.Repeat(`,"MTU":2`, 1<<16))
	var got conf
	if err := c.Decode(&got); err != nil || got.MTU != 1 {
		t.Errorf("Decode = %v, MTU %d, want nil, 1", err, got.MTU)
	}
	if err := c.DecodeStrict(&got); err != nil {
		t.Errorf("DecodeStrict = %v, want nil", err)
	}
}

// slowDistance is the definition of the distance, without any memory.
func slowDistance(a, b string) int {
	switch {
	case a == "":
		return len(b)
	case b == "":
		return len(a)
	}
	cost := 1
	if a[len(a)-1] == b[len(b)-1] {
		cost = 0
	}
	d := min(slowDistance(a[:len(a)-1], b)+1, slowDistance(a, b[:len(b)-1])+1, slowDistance(a[:len(a)-1], b[:len(b)-1])+cost)
	if len(a) > 1 && len(b) > 1 && a[len(a)-1] == b[len(b)-2] && a[len(a)-2] == b[len(b)-1] {
		d = min(d, slowDistance(a[:len(a)-2], b[:len(b)-2])+1)
	}
	return d
}

func TestDistance(t *testing.T) {
	t.Parallel()
	words := []string{"", "a", "b", "ab", "ba", "abc", "acb", "cab", "abcd", "bacd", "badc", "aab", "mtu", "mut", "tmu", "mac", "abab", "baba"}
	for _, a := range words {
		for _, b := range words {
			if got, want := types.Distance(a, b), slowDistance(a, b); got != want {
				t.Errorf("distance(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

// Structs whose fields package json reads by rules of its own.
type (
	inner struct {
		A int `json:"a"`
		B string
	}
	plainA struct{ A int }
	plainB struct{ B string }
	embeds struct {
		inner
		C []inner `json:"c"`
	}
	Pointed struct {
		P int  `json:"p"`
		Q *int `json:"q"`
	}
	points  struct{ *Pointed }
	shadows struct {
		inner
		B int // nearer than the one of inner
	}
	clashes struct { // in B, so that none of them is read
		inner
		plainB
	}
	prefers struct { // the tagged one
		plainA
		Tagged struct{ X int } `json:"A"`
	}
	quotes struct {
		N int  `json:"n,string"`
		B bool `json:"b,omitempty,string"`
	}
	minus struct {
		A int `json:"-"`
		//lint:ignore SA5008 it is odd, and package json takes it
		B int `json:"-,"`
		c int
	}
	spells struct {
		A  int `json:"a"`
		AA int `json:"A"`
	}
	merges struct {
		M map[string]int `json:"m"`
		S inner          `json:"s"`
		P *inner         `json:"p"`
		I any            `json:"i"`
		L [2]int         `json:"l"`
	}
)

// sameAsPackage decodes a configuration in both ways, into values that begin alike.
func sameAsPackage[T any](t *testing.T, begin func() T, extra string) {
	t.Helper()
	c := configOf(t, extra)
	got, want := begin(), begin()
	err, wantErr := c.Decode(&got), json.Unmarshal(c.Raw, &want)
	if (err == nil) != (wantErr == nil) {
		t.Errorf("%T: Decode(%s) = %v; package json: %v", got, extra, err, wantErr)
	}
	if wantErr == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%T: Decode(%s) = %+v, want %+v", got, extra, got, want)
	}
}

func zero[T any]() (z T) { return z }

// Members are read one by one, and come out as by package json.
func TestPluginConfig_Decode_likePackage(t *testing.T) {
	t.Parallel()
	for _, extra := range []string{
		``, `,"a":1`, `,"A":2`, `,"a":1,"a":2`, `,"a":"x"`, `,"a":null`, `,"\u0061":3`, `,"b":"x"`, `,"B":5`, `,"b":null`, `,"-":7`, `,"c":4`,
		`,"c":[{"a":1},{"B":"x","z":[]}]`, `,"p":3,"q":4`, `,"q":null`, `,"p":{"a":1}`, `,"p":"x"`, `,"n":"3","b":"true"`, `,"n":3`, `,"n":"x"`,
		`,"m":{"x":1},"m":{"y":2}`, `,"s":{"a":1},"s":{"b":"x"}`, `,"s":{"A":1,"a":2}`, `,"s":[1]`, `,"s":{"a":"x"}`, `,"p":{"A":3,"B":"y"}`, `,"i":{"x":[1,"2",null]}`, `,"l":[1]`, `,"l":[1,2,3]`, `,"l":null,"m":null,"s":null,"i":null`,
	} {
		sameAsPackage(t, zero[inner], extra)
		sameAsPackage(t, zero[embeds], extra)
		sameAsPackage(t, zero[points], extra)
		sameAsPackage(t, zero[*points], extra)
		sameAsPackage(t, zero[shadows], extra)
		sameAsPackage(t, zero[clashes], extra)
		sameAsPackage(t, zero[prefers], extra)
		sameAsPackage(t, zero[quotes], extra)
		sameAsPackage(t, func() minus { return minus{1, 2, 3} }, extra)
		sameAsPackage(t, zero[spells], extra)
		sameAsPackage(t, zero[map[string]any], extra)
		sameAsPackage(t, func() merges {
			return merges{M: map[string]int{"old": 1}, S: inner{1, "old"}, P: &inner{2, "old"}, I: 5, L: [2]int{6, 7}}
		}, extra)
	}
}
