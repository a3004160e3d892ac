// Watches ConfigMaps of a namespace as controllers do, by client-go's informer, and prints what it hears: `add NAME`, `update NAME` and
// `delete NAME`. informer KUBECONFIG NAMESPACE
package main

import (
	"fmt"
	"log"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	client, err := metadata.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	informer := metadatainformer.NewFilteredMetadataInformer(client, resource, os.Args[2], 0, cache.Indexers{}, nil).Informer()
	say := func(event string, object any) {
		if gone, is := object.(cache.DeletedFinalStateUnknown); is {
			object = gone.Obj
		}
		fmt.Println(event, object.(metav1.Object).GetName())
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { say("add", object) },
		UpdateFunc: func(_, object any) { say("update", object) },
		DeleteFunc: func(object any) { say("delete", object) },
	}); err != nil {
		log.Fatal(err)
	}
	informer.Run(nil)
}
