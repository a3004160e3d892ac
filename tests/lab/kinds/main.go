// Writes src/datastore/value/kinds.txt: what the API server stores, as Go's own types tell it. Their struct tags alone say both which number
// a field has in protobuf and how encoding/json writes it. The head of the table is its grammar.
package main

import (
	"fmt"
	"log"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"k8s.io/client-go/kubernetes/scheme"
)

// Groups whose kinds are questions to the API server or to webhooks, which nobody stores.
var asked = []string{"admission.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "imagepolicy.k8s.io"}

// Kinds with metadata that are only written to subresources.
var subresources = []string{"Binding", "Eviction", "Scale"}

// Types whose JSON is not what their fields are, and what the table calls them.
var special = map[string]string{
	"meta/v1.Time":             "time",
	"meta/v1.MicroTime":        "microtime",
	"meta/v1.Duration":         "duration",
	"meta/v1.FieldsV1":         "fields",
	"api/resource.Quantity":    "quantity",
	"pkg/runtime.RawExtension": "raw",
	"util/intstr.IntOrString":  "intorstring",
}

func main() {
	log.SetFlags(0)
	packages := map[string]*section{}
	for kind, goType := range scheme.Scheme.AllKnownTypes() {
		if slices.Contains(asked, kind.Group) || slices.Contains(subresources, kind.Kind) || !hasMetadata(goType) {
			continue
		}
		name := typeName(goType)
		folder, _, _ := strings.Cut(name, ".")
		of(packages, folder).apiVersion = kind.GroupVersion().String()
		describe(packages, goType)
		of(packages, folder).types[goType.Name()].kind = true
	}
	fmt.Print(head())
	for _, folder := range sorted(packages) {
		section := packages[folder]
		fmt.Printf("\n[%s]%s\n", folder, prefixed(section.apiVersion))
		for _, name := range sorted(section.types) {
			word := "type"
			if section.types[name].kind {
				word = "kind"
			}
			fmt.Println(word, name)
			for _, line := range section.types[name].fields {
				fmt.Println(line)
			}
		}
	}
}

// What the table says of one Go package.
type section struct {
	apiVersion string
	types      map[string]*message
}

type message struct {
	kind   bool
	fields []string
}

func head() string {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "k8s.io/api" {
				version = module.Version
			}
		}
	}
	if version == "" {
		log.Fatal("the version of k8s.io/api is not known")
	}
	return `# k8s.io/api ` + version + `; written by tests/lab/kinds, not by hand.
# [PACKAGE] and the apiVersion of its kinds; then a kind that is stored or a type within one; then its fields: number, name, type.
# NAME? is left out when empty (omitempty), NAME! when zero (omitzero), . has its fields in the object around it (inline).
# A type has its package where that is another one. *T is absent or there, []T repeats, map[T] has strings as keys.
`
}

// Whether these are objects: lists, options and statuses have no ObjectMeta.
func hasMetadata(goType reflect.Type) bool {
	field, ok := goType.FieldByName("ObjectMeta")
	return ok && field.Anonymous && typeName(field.Type) == "meta/v1.ObjectMeta"
}

// Notes the fields of a struct, and of all that they are made of.
func describe(packages map[string]*section, goType reflect.Type) {
	folder, name, _ := strings.Cut(typeName(goType), ".")
	if of(packages, folder).types[name] != nil {
		return
	}
	if marshalsItself(goType) {
		log.Fatalf("%s writes its own JSON, and the table has no word for that", goType)
	}
	described := &message{}
	of(packages, folder).types[name] = described
	for i := range goType.NumField() {
		field := goType.Field(i)
		tag, ok := field.Tag.Lookup("protobuf")
		jsonName, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !ok && field.Name == "TypeMeta" && options == "inline" {
			continue // It stands beside the object, in runtime.Unknown.
		}
		number, err := strconv.Atoi(strings.Split(tag+",,", ",")[1])
		if err != nil {
			log.Fatalf("%s.%s has no number in protobuf: %q", goType, field.Name, field.Tag)
		}
		marks := ""
		for _, option := range strings.Split(options, ",") {
			switch option {
			case "":
			case "inline":
				if !field.Anonymous || field.Type.Kind() != reflect.Struct {
					log.Fatalf("%s.%s is inline and no struct", goType, field.Name)
				}
				jsonName = "."
			case "omitempty":
				// encoding/json finds no struct empty.
				if field.Type.Kind() != reflect.Struct {
					marks += "?"
				}
			case "omitzero":
				marks += "!"
			default:
				log.Fatalf("%s.%s: JSON with %q", goType, field.Name, option)
			}
		}
		if jsonName == "" || jsonName == "-" {
			log.Fatalf("%s.%s has no name in JSON: %q", goType, field.Name, field.Tag)
		}
		described.fields = append(described.fields, fmt.Sprintf(" %d %s%s %s", number, jsonName, marks, spelled(packages, folder, field.Type)))
	}
}

// A field's type as the table spells it within a package.
func spelled(packages map[string]*section, folder string, goType reflect.Type) string {
	if word, ok := special[typeName(goType)]; ok {
		return word
	}
	switch goType.Kind() {
	case reflect.Pointer:
		return "*" + spelled(packages, folder, goType.Elem())
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		if _, ok := reflect.PointerTo(goType).MethodByName("Unmarshal"); ok {
			// A message by itself, of which field 1 repeats.
			if goType.Elem().Kind() != reflect.String {
				log.Fatalf("%s is a message of %s", goType, goType.Elem())
			}
			return "strings"
		}
		return "[]" + spelled(packages, folder, goType.Elem())
	case reflect.Map:
		if goType.Key().Kind() != reflect.String {
			log.Fatalf("%s has keys that are no strings", goType)
		}
		return "map[" + spelled(packages, folder, goType.Elem()) + "]"
	case reflect.Struct:
		describe(packages, goType)
		return strings.TrimPrefix(typeName(goType), folder+".")
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		if marshalsItself(goType) {
			log.Fatalf("%s writes its own JSON, and the table has no word for that", goType)
		}
		return goType.Kind().String()
	default:
		log.Fatalf("%s is of a kind that the table has no word for", goType)
		return ""
	}
}

// A type by the last two parts of its package.
func typeName(goType reflect.Type) string {
	parts := strings.Split(goType.PkgPath(), "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/") + "." + goType.Name()
}

func marshalsItself(goType reflect.Type) bool {
	_, itself := reflect.PointerTo(goType).MethodByName("MarshalJSON")
	return itself
}

func of(packages map[string]*section, folder string) *section {
	if packages[folder] == nil {
		packages[folder] = &section{types: map[string]*message{}}
	}
	return packages[folder]
}

func prefixed(text string) string {
	if text == "" {
		return ""
	}
	return " " + text
}

func sorted[V any](entries map[string]V) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
